#include "lib/text/jinja_text.h"

#include <string.h>
#include <utf8proc.h>

#include <algorithm>

#include "lib/text/unicode.h"

namespace octet::jinja {
namespace {

/// Calls use(code point, bytes) for each character; code point kInvalid for what is none.
constexpr char32_t kInvalid = 0xFFFFFFFF;
template <class Use>
void for_each_character(std::string_view text, const Use& use) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Part part = utf8_part(text, at);
    const bool valid = part.kind == Utf8Part::Kind::character;
    use(valid ? part.code_point : kInvalid, text.substr(at, part.length));
    at += part.length;
  }
}

/// The size of the character that ends at `end` > 0.
size_t last_size(std::string_view text, size_t end) {
  for (size_t size = 1; size <= std::min<size_t>(4, end); ++size) {
    const Utf8Part part = utf8_part(text.substr(0, end), end - size);
    if (part.kind == Utf8Part::Kind::character && part.length == size) return size;
  }
  return 1;
}

bool is_space_at(std::string_view character) {
  const Utf8Part part = utf8_part(character, 0);
  return part.kind == Utf8Part::Kind::character && is_space(part.code_point);
}

bool is_line_end(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

/// The characters of a text, sorted; white space if there is no text.
class CharacterSet {
 public:
  explicit CharacterSet(std::optional<std::string_view> text) : space_(!text) {
    for_each_character(text.value_or(""), [&](char32_t c, std::string_view) { sorted_ += c; });
    std::sort(sorted_.begin(), sorted_.end());
  }
  bool contains(std::string_view character) const {
    const Utf8Part part = utf8_part(character, 0);
    if (part.kind != Utf8Part::Kind::character) return false;
    return space_ ? is_space(part.code_point)
                  : std::binary_search(sorted_.begin(), sorted_.end(), part.code_point);
  }

 private:
  bool space_;
  std::u32string sorted_;
};

utf8proc_category_t category(char32_t c) {
  return c == kInvalid ? UTF8PROC_CATEGORY_CN : utf8proc_category(static_cast<int32_t>(c));
}
bool is_upper_letter(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LU || category(c) == UTF8PROC_CATEGORY_LT;
}
bool is_lower_letter(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LL;
}
bool is_alpha(char32_t c) {
  return category(c) >= UTF8PROC_CATEGORY_LU && category(c) <= UTF8PROC_CATEGORY_LO;
}

enum class Case { upper, lower, title };
void append_cased(char32_t c, std::string_view bytes, Case to, std::string& out) {
  if (c == kInvalid) {
    out += bytes;
  } else if (c == 0xDF && to != Case::lower) {  // the one common letter that becomes two
    out += to == Case::upper ? "SS" : "Ss";
  } else {
    const auto code = static_cast<int32_t>(c);
    append_utf8(static_cast<char32_t>(to == Case::upper   ? utf8proc_toupper(code)
                                      : to == Case::lower ? utf8proc_tolower(code)
                                                          : utf8proc_totitle(code)),
                out);
  }
}

std::string change_case(std::string_view text, Case to) {
  std::string out;
  out.reserve(text.size());
  for_each_character(text,
                     [&](char32_t c, std::string_view bytes) { append_cased(c, bytes, to, out); });
  return out;
}

bool is_kind(char32_t c, CharacterClass kind) {
  switch (kind) {
    case CharacterClass::alpha:
      return is_alpha(c);
    case CharacterClass::digit:
      return category(c) == UTF8PROC_CATEGORY_ND;
    case CharacterClass::alphanumeric:
      return is_alpha(c) ||
             (category(c) >= UTF8PROC_CATEGORY_ND && category(c) <= UTF8PROC_CATEGORY_NO);
    case CharacterClass::space:
      return is_space(c);
    default:
      return false;
  }
}

}  // namespace

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

std::string_view strip(std::string_view text, std::optional<std::string_view> chars, Side side) {
  const CharacterSet gone(chars);
  while (side != Side::right && !text.empty()) {
    const size_t size = utf8_part(text, 0).length;
    if (!gone.contains(text.substr(0, size))) break;
    text.remove_prefix(size);
  }
  while (side != Side::left && !text.empty()) {
    const size_t size = last_size(text, text.size());
    if (!gone.contains(text.substr(text.size() - size))) break;
    text.remove_suffix(size);
  }
  return text;
}

size_t find_text(std::string_view text, std::string_view what, size_t from) {
  if (from > text.size()) return text.npos;
  // memmem is linear, std::string_view::find is not.
  const void* found = memmem(text.data() + from, text.size() - from, what.data(), what.size());
  return found ? static_cast<size_t>(static_cast<const char*>(found) - text.data()) : text.npos;
}

size_t rfind_text(std::string_view text, std::string_view what) {
  const std::string backward(text.rbegin(), text.rend()), needle(what.rbegin(), what.rend());
  const size_t found = find_text(backward, needle);
  return found == text.npos ? found : text.size() - found - what.size();
}

std::vector<std::string_view> split(std::string_view text,
                                    std::optional<std::string_view> separator, int64_t limit) {
  std::vector<std::string_view> parts;
  if (separator) {
    for (size_t cut; limit != 0 && (cut = find_text(text, *separator)) != text.npos; --limit) {
      parts.push_back(text.substr(0, cut));
      text.remove_prefix(cut + separator->size());
    }
    parts.push_back(text);
    return parts;
  }
  for (text = strip(text, {}, Side::left); !text.empty(); text = strip(text, {}, Side::left)) {
    size_t end = 0;
    while (limit != 0 && end < text.size()) {
      const size_t size = utf8_part(text, end).length;
      if (is_space_at(text.substr(end, size))) break;
      end += size;
    }
    if (limit-- == 0) {
      parts.push_back(text);
      break;
    }
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return parts;
}

std::vector<std::string_view> split_right(std::string_view text,
                                          std::optional<std::string_view> separator,
                                          int64_t limit) {
  std::vector<std::string_view> parts;
  if (separator) {
    const std::string backward(text.rbegin(), text.rend());
    const std::string mirrored(separator->rbegin(), separator->rend());
    for (std::string_view part : split(backward, mirrored, limit)) {
      const auto offset = static_cast<size_t>(part.data() - backward.data());
      parts.push_back(text.substr(text.size() - offset - part.size(), part.size()));
    }
    std::reverse(parts.begin(), parts.end());
    return parts;
  }
  parts = split(text, {}, -1);
  if (limit >= 0 && parts.size() > static_cast<size_t>(limit)) {
    const auto kept = parts.end() - static_cast<ptrdiff_t>(limit);
    const std::string_view last = *(kept - 1);
    const auto size = static_cast<size_t>(last.data() + last.size() - text.data());
    parts.erase(parts.begin(), kept);
    parts.insert(parts.begin(), text.substr(0, size));
  }
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  for (size_t at = 0, start = 0; at < text.size();) {
    const Utf8Part part = utf8_part(text, at);
    const size_t end = at;
    at += part.length;
    if (part.kind != Utf8Part::Kind::character || !is_line_end(part.code_point)) {
      if (at == text.size()) lines.push_back(text.substr(start));
      continue;
    }
    if (part.code_point == '\r' && text.substr(at, 1) == "\n") ++at;
    lines.push_back(text.substr(start, (keep_ends ? at : end) - start));
    start = at;
  }
  return lines;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to,
                    int64_t limit, size_t max_size) {
  std::string out;
  if (from.empty()) {  // Python puts `to` before each character and at the end
    uint64_t left = static_cast<uint64_t>(limit);  // no limit: more than there are characters
    const auto insert = [&] {
      if (left == 0 || out.size() > max_size) return;
      out += to;
      --left;
    };
    for_each_character(text, [&](char32_t, std::string_view character) {
      insert();
      out += character;
    });
    insert();
    return out;
  }
  size_t at = 0;
  for (size_t next; limit != 0 && out.size() <= max_size; --limit) {
    if ((next = find_text(text, from, at)) == text.npos) break;
    out.append(text, at, next - at).append(to);
    at = next + from.size();
  }
  return out.append(text, at);
}

std::string upper(std::string_view text) {
  return change_case(text, Case::upper);
}

std::string lower(std::string_view text) {
  return change_case(text, Case::lower);
}

std::string title(std::string_view text) {
  std::string out;
  bool inside = false;
  for_each_character(text, [&](char32_t c, std::string_view bytes) {
    append_cased(c, bytes, inside ? Case::lower : Case::title, out);
    inside = is_upper_letter(c) || is_lower_letter(c);
  });
  return out;
}

std::string title_words(std::string_view text) {
  std::string out;
  bool inside = false;
  for_each_character(text, [&](char32_t c, std::string_view bytes) {
    append_cased(c, bytes, inside ? Case::lower : Case::upper, out);
    inside = !is_space(c) && (bytes.size() > 1 ||
                              std::string_view("-({[<").find(bytes[0]) == std::string_view::npos);
  });
  return out;
}

std::string capitalize(std::string_view text) {
  std::string out;
  for_each_character(text, [&](char32_t c, std::string_view bytes) {
    append_cased(c, bytes, out.empty() ? Case::title : Case::lower, out);
  });
  return out;
}

bool is_all(std::string_view text, CharacterClass kind) {
  const bool cased = kind == CharacterClass::upper || kind == CharacterClass::lower;
  bool any = false, all = true;
  for_each_character(text, [&](char32_t c, std::string_view) {
    if (!cased) {
      any = true;
      all = all && is_kind(c, kind);
      return;
    }
    const bool wanted = kind == CharacterClass::upper ? is_upper_letter(c) : is_lower_letter(c);
    any = any || wanted;
    all = all && (wanted || !(is_upper_letter(c) || is_lower_letter(c)));
  });
  return any && all;
}

bool is_printable(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return c == ' ';
    default:
      return true;
  }
}

size_t count_characters(std::string_view text) {
  size_t count = 0;
  for_each_character(text, [&](char32_t, std::string_view) { ++count; });
  return count;
}

std::vector<uint32_t> character_offsets(std::string_view text) {
  std::vector<uint32_t> offsets;
  for_each_character(text, [&](char32_t, std::string_view character) {
    offsets.push_back(static_cast<uint32_t>(character.data() - text.data()));
  });
  offsets.push_back(static_cast<uint32_t>(text.size()));
  return offsets;
}

}  // namespace octet::jinja

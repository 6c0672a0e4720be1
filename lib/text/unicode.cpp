#include "lib/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "lib/core/error.h"

namespace octet {
namespace {

/// How many bytes follow a lead byte, and between which values the first of them lies (Unicode 15,
/// table 3-7). count 0: the byte leads nothing.
struct Lead {
  uint32_t count;
  uint8_t low, high;
};

Lead lead_of(uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {1, 0x80, 0xBF};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {2, 0x80, 0xBF};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {3, 0x80, 0xBF};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  return {0, 0, 0};
}

/// The number of ASCII bytes from `at` on, in steps of eight.
size_t ascii_run(std::string_view bytes, size_t at) {
  const size_t begin = at;
  for (uint64_t word; at + sizeof word <= bytes.size(); at += sizeof word) {
    std::memcpy(&word, bytes.data() + at, sizeof word);
    if (word & 0x8080808080808080u) break;
  }
  return at - begin;
}

int combining_class(utf8proc_int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

/// Sorts each run of combining marks by class. utf8proc's own ordering takes time quadratic in the
/// length of a run.
void order_marks(std::vector<utf8proc_int32_t>& points) {
  auto is_starter = [](utf8proc_int32_t point) {
    return point < 0x300 || combining_class(point) == 0;
  };
  auto by_class = [](utf8proc_int32_t a, utf8proc_int32_t b) {
    return combining_class(a) < combining_class(b);
  };
  for (auto begin = points.begin(); begin != points.end();) {
    begin = std::find_if_not(begin, points.end(), is_starter);
    auto end = std::find_if(begin, points.end(), is_starter);
    if (end - begin > 1) std::stable_sort(begin, end, by_class);
    begin = end;
  }
}

std::vector<utf8proc_int32_t> decompose(std::string_view text) {
  constexpr int kLongest = 32;  // far above the longest canonical decomposition, 4
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE);
  std::vector<utf8proc_int32_t> points;
  points.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Part part = utf8_part(text, at);
    at += part.length;
    if (part.code_point < 0xC0) {
      points.push_back(static_cast<utf8proc_int32_t>(part.code_point));
      continue;
    }
    utf8proc_int32_t parts[kLongest];
    int boundary = 0;
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(part.code_point),
                                               parts, kLongest, options, &boundary);
    require(count >= 0 && count <= kLongest, ErrorCode::Internal, "utf8proc: decomposition of U+",
            std::hex, static_cast<uint32_t>(part.code_point), " gave ", std::dec, count);
    points.insert(points.end(), parts, parts + count);
  }
  return points;
}

}  // namespace

Utf8Part utf8_part(std::string_view bytes, size_t at) {
  using Kind = Utf8Part::Kind;
  const auto first = static_cast<uint8_t>(bytes[at]);
  if (first < 0x80) return {Kind::character, 1, first};
  Lead lead = lead_of(first);
  if (lead.count == 0) return {Kind::invalid, 1, 0};
  char32_t code_point = first & (0x3Fu >> lead.count);
  for (uint32_t i = 1; i <= lead.count; ++i) {
    if (at + i == bytes.size()) return {Kind::incomplete, i, 0};
    const auto byte = static_cast<uint8_t>(bytes[at + i]);
    if (byte < lead.low || byte > lead.high) return {Kind::invalid, i, 0};
    code_point = code_point << 6 | (byte & 0x3Fu);
    lead.low = 0x80;
    lead.high = 0xBF;
  }
  return {Kind::character, lead.count + 1, code_point};
}

size_t find_invalid_utf8(std::string_view bytes) {
  for (size_t at = 0; at < bytes.size();) {
    at += ascii_run(bytes, at);
    if (at == bytes.size()) break;
    const Utf8Part part = utf8_part(bytes, at);
    if (part.kind != Utf8Part::Kind::character) return at;
    at += part.length;
  }
  return std::string_view::npos;
}

void append_utf8(char32_t code_point, std::string& out) {
  auto tail = [&](int shift) { out += static_cast<char>(0x80 | (code_point >> shift & 0x3F)); };
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    out += static_cast<char>(0xC0 | code_point >> 6);
    tail(0);
  } else if (code_point < 0x10000) {
    out += static_cast<char>(0xE0 | code_point >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | code_point >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

size_t append_complete_utf8(std::string_view bytes, std::string& out) {
  size_t at = 0;
  while (at < bytes.size()) {
    const Utf8Part part = utf8_part(bytes, at);
    if (part.kind == Utf8Part::Kind::incomplete) break;
    if (part.kind == Utf8Part::Kind::character) {
      out.append(bytes, at, part.length);
    } else {
      out += kReplacementCharacter;
    }
    at += part.length;
  }
  return at;
}

bool may_need_nfc(std::string_view text) {
  // U+0300 is CC 80; continuation bytes lie below CC.
  return std::any_of(text.begin(), text.end(),
                     [](char byte) { return static_cast<uint8_t>(byte) >= 0xCC; });
}

std::string to_nfc(std::string_view text) {
  std::vector<utf8proc_int32_t> points = decompose(text);
  order_marks(points);
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  const auto count = utf8proc_normalize_utf32(
      points.data(), static_cast<utf8proc_ssize_t>(points.size()), options);
  require(count >= 0, ErrorCode::Internal, "utf8proc: composition gave ", count);
  std::string out;
  out.reserve(text.size());
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    append_utf8(static_cast<char32_t>(points[static_cast<size_t>(i)]), out);
  }
  return out;
}

}  // namespace octet

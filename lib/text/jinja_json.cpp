#include "lib/text/jinja_json.h"

#include <algorithm>
#include <cmath>

#include "lib/text/jinja_print.h"
#include "lib/text/unicode.h"

namespace octet::jinja {
namespace {

class JsonWriter {
 public:
  JsonWriter(Runtime& rt, const JsonStyle& style) : rt_(rt), style_(style) {}

  std::string take(const Value& value) {
    write(value);
    return std::move(out_);
  }

 private:
  void write(const Value& value) {
    rt_.work();
    rt_.check_text(out_.size());
    if (value.text()) {
      string(*value.text());
    } else if (value.list()) {
      list(*value.list());
    } else if (value.dict()) {
      dict(*value.dict());
    } else {
      out_ += scalar(value);
    }
  }

  std::string scalar(const Value& value) {
    if (value.is_none()) return "null";
    if (const bool* boolean = value.get<bool>()) return *boolean ? "true" : "false";
    if (const int64_t* integer = value.get<int64_t>()) return std::to_string(*integer);
    const double* real = value.get<double>();
    if (!real) rt_.fail("a value of type ", type_name(value), " has no form in JSON");
    if (std::isnan(*real)) return "NaN";
    if (std::isinf(*real)) return *real > 0 ? "Infinity" : "-Infinity";
    return format_real(*real);
  }

  void unit(uint32_t utf16) {
    out_ += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out_ += "0123456789abcdef"[(utf16 >> shift) & 15];
  }

  void character(char32_t c) {
    static constexpr std::string_view special = "\"\\\n\r\t\f\b", letters = "\"\\nrtfb";
    const size_t index = c < 0x80 ? special.find(static_cast<char>(c)) : special.npos;
    if (index != special.npos) {
      out_ += '\\';
      out_ += letters[index];
    } else if (c < 0x20 || (style_.ascii && c > 0x7E && c < 0x10000 && c != 0x7F)) {
      unit(c);
    } else if (style_.ascii && c >= 0x10000) {
      unit(0xD800 + ((c - 0x10000) >> 10));
      unit(0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
      append_utf8(c, out_);
    }
  }

  void string(std::string_view text) {
    rt_.read(text.size());
    out_ += '"';
    for (size_t at = 0; at < text.size();) {
      const Utf8Part part = utf8_part(text, at);
      if (part.kind == Utf8Part::Kind::character) {
        character(part.code_point);
      } else {
        out_ += text.substr(at, part.length);
      }
      at += part.length;
    }
    out_ += '"';
  }

  void new_line() {
    if (!style_.indent) return;
    out_ += '\n';
    for (int i = 0; i < depth_; ++i) {
      out_ += *style_.indent;
      rt_.check_text(out_.size());
    }
  }

  /// What stands between brackets: item(i) writes one element.
  template <class Item>
  void items(char open, char close, size_t count, const Item& item) {
    out_ += open;
    ++depth_;
    for (size_t i = 0; i < count; ++i) {
      if (i > 0) out_ += style_.item_separator;
      new_line();
      item(i);
    }
    --depth_;
    if (count > 0) new_line();
    out_ += close;
  }

  void list(const List& list) {
    items('[', ']', list.items.size(), [&](size_t i) { write(list.items[i]); });
  }

  void dict(const Dict& dict) {
    std::vector<std::pair<std::string, const Value*>> members;
    for (const auto& [key, value] : dict.items) {
      members.emplace_back(key.text() ? *key.text() : scalar(key), &value);
    }
    if (style_.sort_keys) {
      std::stable_sort(members.begin(), members.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
    }
    items('{', '}', members.size(), [&](size_t i) {
      string(members[i].first);
      out_ += style_.key_separator;
      write(*members[i].second);
    });
  }

  Runtime& rt_;
  const JsonStyle& style_;
  int depth_ = 0;
  std::string out_;
};

}  // namespace

std::string to_json(Runtime& rt, const Value& value, const JsonStyle& style) {
  return JsonWriter(rt, style).take(value);
}

}  // namespace octet::jinja

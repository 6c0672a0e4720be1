#include "lib/text/jinja_print.h"

#include <array>
#include <charconv>
#include <cmath>

#include "lib/text/jinja_text.h"
#include "lib/text/unicode.h"

namespace octet::jinja {
namespace {

void append_hex(char letter, int digits, uint32_t value, std::string& out) {
  out += '\\';
  out += letter;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    out += "0123456789abcdef"[(value >> shift) & 15];
  }
}

void repr_character(char32_t c, char quote, std::string& out) {
  if (c == '\\' || c == static_cast<char32_t>(quote)) {
    out += '\\';
    out += static_cast<char>(c);
  } else if (c == '\n' || c == '\r' || c == '\t') {
    out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
  } else if (is_printable(c)) {
    append_utf8(c, out);
  } else if (c < 0x100) {
    append_hex('x', 2, c, out);
  } else if (c < 0x10000) {
    append_hex('u', 4, c, out);
  } else {
    append_hex('U', 8, c, out);
  }
}

void repr_text(std::string_view text, std::string& out) {
  const bool single = text.find('\'') != text.npos, twofold = text.find('"') != text.npos;
  const char quote = single && !twofold ? '"' : '\'';
  out += quote;
  for (size_t at = 0; at < text.size();) {
    const Utf8Part part = utf8_part(text, at);
    if (part.kind == Utf8Part::Kind::character) {
      repr_character(part.code_point, quote, out);
    } else {
      out += text.substr(at, part.length);
    }
    at += part.length;
  }
  out += quote;
}

void repr_list(Runtime& rt, const List& list, std::string& out) {
  out += list.tuple ? '(' : '[';
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out += ", ";
    print_repr(rt, list.items[i], out);
  }
  if (list.tuple && list.items.size() == 1) out += ',';
  out += list.tuple ? ')' : ']';
}

void repr_dict(Runtime& rt, const Dict& dict, std::string& out) {
  out += '{';
  for (size_t i = 0; i < dict.items.size(); ++i) {
    if (i > 0) out += ", ";
    print_repr(rt, dict.items[i].first, out);
    out += ": ";
    print_repr(rt, dict.items[i].second, out);
  }
  out += '}';
}

}  // namespace

std::string format_real(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 40> buffer;
  // Python changes to the scientific form at other exponents than to_chars does by itself.
  const double magnitude = std::fabs(value);
  const bool fixed = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
  const auto format = fixed ? std::chars_format::fixed : std::chars_format::scientific;
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format);
  std::string text(buffer.data(), result.ptr);
  if (fixed && text.find('.') == text.npos) text += ".0";
  return text;
}

void print(Runtime& rt, const Value& value, std::string& out) {
  if (const std::string* text = value.text()) {
    rt.read(text->size());
    out += *text;
  } else if (!value.is_undefined()) {
    print_repr(rt, value, out);
  }
  rt.check_text(out.size());
}

void print_repr(Runtime& rt, const Value& value, std::string& out) {
  rt.work();
  rt.check_text(out.size());
  if (value.is_undefined()) {
    out += "Undefined";
  } else if (value.is_none()) {
    out += "None";
  } else if (const bool* boolean = value.get<bool>()) {
    out += *boolean ? "True" : "False";
  } else if (const int64_t* integer = value.get<int64_t>()) {
    out += std::to_string(*integer);
  } else if (const double* real = value.get<double>()) {
    out += format_real(*real);
  } else if (const std::string* text = value.text()) {
    rt.read(text->size());
    repr_text(*text, out);
  } else if (value.list()) {
    repr_list(rt, *value.list(), out);
  } else if (value.dict()) {
    repr_dict(rt, *value.dict(), out);
  } else {
    rt.fail("a ", type_name(value), " cannot be printed");
  }
}

std::string to_text(Runtime& rt, const Value& value) {
  std::string out;
  print(rt, value, out);
  return out;
}

}  // namespace octet::jinja

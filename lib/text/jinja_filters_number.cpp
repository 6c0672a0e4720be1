// Filters that make numbers.
#include <array>
#include <charconv>
#include <cmath>

#include "lib/text/jinja_builtins.h"
#include "lib/text/jinja_operators.h"
#include "lib/text/jinja_text.h"

namespace octet::jinja {
namespace {

/// Python's int(text): white space around, a sign, single _ between digits. False: no integer.
bool parse_integer(Runtime& rt, std::string_view text, int base, int64_t& out) {
  text = strip(text, {}, Side::both);
  std::string digits;
  if (text.starts_with('+') || text.starts_with('-')) {
    if (text[0] == '-') digits += '-';
    text.remove_prefix(1);
  }
  const std::string prefix = lower(text.substr(0, 2));
  const bool prefixed = (base == 16 && prefix == "0x") || (base == 8 && prefix == "0o") ||
                        (base == 2 && prefix == "0b");
  if (prefixed) text.remove_prefix(2);
  for (size_t i = 0; i < text.size(); ++i) {
    const bool gap =
        text[i] == '_' && (i > 0 || prefixed) && i + 1 < text.size() && text[i + 1] != '_';
    if (text[i] == '-' || (text[i] == '_' && !gap)) return false;
    if (!gap) digits += text[i];
  }
  const char* end = digits.data() + digits.size();
  const auto result = std::from_chars(digits.data(), end, out, base);
  if (result.ec == std::errc::result_out_of_range && result.ptr == end) {
    rt.fail("an integer does not fit 64 bits");
  }
  return result.ec == std::errc() && result.ptr == end;
}

/// Python's float(text). False: no number.
bool parse_real(std::string_view text, double& out) {
  text = strip(text, {}, Side::both);
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  const auto result = std::from_chars(text.data(), text.data() + text.size(), out);
  if (result.ec == std::errc::result_out_of_range)
    out = text.starts_with('-') ? -HUGE_VAL : HUGE_VAL;
  return result.ec != std::errc::invalid_argument && result.ptr == text.data() + text.size() &&
         text.find('(') == text.npos;
}

int64_t truncate(Runtime& rt, double real) {
  if (!(std::fabs(real) < 0x1p63)) rt.fail("a number does not fit 64 bits");
  return static_cast<int64_t>(real);
}

Value to_int(Runtime& rt, const Value& self, Arguments& args) {
  const Value* otherwise = args.next("default");
  const int64_t base = args.integer(rt, "base", 10);
  if (base < 2 || base > 36) rt.fail("integers of base ", base);
  int64_t integer = 0;
  double real = 0;
  if (const std::string* text = self.text()) {
    rt.read(text->size());
    if (parse_integer(rt, *text, static_cast<int>(base), integer)) return Value::integer(integer);
    if (parse_real(*text, real) && std::isfinite(real)) return Value::integer(truncate(rt, real));
  } else if (to_integer(self, integer)) {
    return Value::integer(integer);
  } else if (to_real(self, real) && !std::isnan(real)) {
    return Value::integer(truncate(rt, real));
  } else if (const Undefined* undefined = self.get<Undefined>()) {
    rt.fail(*undefined->why);
  }
  return otherwise ? *otherwise : Value::integer(0);
}

Value to_float(Runtime& rt, const Value& self, Arguments& args) {
  const Value* otherwise = args.next("default");
  double real = 0;
  if (const Undefined* undefined = self.get<Undefined>()) rt.fail(*undefined->why);
  if (self.text()) rt.read(self.text()->size());
  const bool parsed = self.text() ? parse_real(*self.text(), real) : to_real(self, real);
  if (parsed) return Value::real(real);
  return otherwise ? *otherwise : Value::real(0);
}

Value absolute(Runtime& rt, const Value& self, Arguments&) {
  if (const double* real = self.get<double>()) return Value::real(std::fabs(*real));
  const bool negative = order(rt, self, Value::integer(0)) < 0;
  return negative ? negate(rt, self) : calculate(rt, Arithmetic::add, Value::integer(0), self);
}

/// To so many digits after the point, halves to even, from the number's exact value.
double round_to_even(double value, int digits) {
  std::array<char, 800> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::fixed, digits);
  std::from_chars(buffer.data(), end.ptr, value);
  return value;
}

Value round_number(Runtime& rt, const Value& self, Arguments& args) {
  const int64_t digits = args.integer(rt, "precision", 0);
  const Value* given = args.next("method");
  const std::string method = given && given->text() ? *given->text() : "common";
  double real = 0;
  if (!to_real(self, real)) rt.fail("round takes a number, not ", type_name(self));
  if (digits < 0 || digits > 300) rt.unsupported("rounding to ", digits, " digits");
  if (method == "common" && !self.get<double>()) {
    return calculate(rt, Arithmetic::add, Value::integer(0), self);
  }
  if (!std::isfinite(real)) return Value::real(real);
  if (method == "common") return Value::real(round_to_even(real, static_cast<int>(digits)));
  const double scale = std::pow(10.0, static_cast<double>(digits));
  if (method == "ceil") return Value::real(std::ceil(real * scale) / scale);
  if (method == "floor") return Value::real(std::floor(real * scale) / scale);
  rt.fail("round's method is common, ceil or floor, not '", method, "'");
}

Value count(Runtime& rt, const Value& self, Arguments&) {
  return Value::integer(length(rt, self));
}

constexpr Builtin table[] = {
    {"int", to_int},         {"float", to_float}, {"abs", absolute},
    {"round", round_number}, {"length", count},   {"count", count},
};

}  // namespace

std::span<const Builtin> number_filters() {
  return table;
}

}  // namespace octet::jinja

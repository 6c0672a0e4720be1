#include <algorithm>
#include <cmath>

#include "lib/text/jinja_operators.h"

namespace octet::jinja {
namespace {

constexpr const char* symbols[] = {"+", "-", "*", "/", "//", "%", "**"};  // in Arithmetic's order

[[noreturn]] void overflow(Runtime& rt) {
  rt.fail("an integer does not fit 64 bits");
}

int64_t floor_divide(Runtime& rt, int64_t a, int64_t b) {
  if (b == -1) {
    int64_t result = 0;
    if (__builtin_sub_overflow(int64_t{0}, a, &result)) overflow(rt);
    return result;
  }
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0) ? 1 : 0);
}

int64_t modulo(int64_t a, int64_t b) {
  if (b == -1) return 0;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

int64_t power(Runtime& rt, int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (true) {
    if (exponent & 1 && __builtin_mul_overflow(result, base, &result)) overflow(rt);
    exponent >>= 1;
    if (exponent == 0) return result;
    if (__builtin_mul_overflow(base, base, &base)) overflow(rt);
  }
}

Value on_integers(Runtime& rt, Arithmetic op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool failed = false;
  switch (op) {
    case Arithmetic::add:
      failed = __builtin_add_overflow(a, b, &result);
      break;
    case Arithmetic::subtract:
      failed = __builtin_sub_overflow(a, b, &result);
      break;
    case Arithmetic::multiply:
      failed = __builtin_mul_overflow(a, b, &result);
      break;
    case Arithmetic::floor_divide:
      result = floor_divide(rt, a, b);
      break;
    case Arithmetic::modulo:
      result = modulo(a, b);
      break;
    case Arithmetic::power:
      result = power(rt, a, b);
      break;
    case Arithmetic::divide:
      return Value::real(static_cast<double>(a) / static_cast<double>(b));
  }
  if (failed) overflow(rt);
  return Value::integer(result);
}

double real_modulo(double a, double b) {
  const double rest = std::fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest == 0 ? std::copysign(0.0, b) : rest;
}

Value on_reals(Runtime& rt, Arithmetic op, double a, double b) {
  switch (op) {
    case Arithmetic::add:
      return Value::real(a + b);
    case Arithmetic::subtract:
      return Value::real(a - b);
    case Arithmetic::multiply:
      return Value::real(a * b);
    case Arithmetic::divide:
      return Value::real(a / b);
    case Arithmetic::floor_divide:
      return Value::real(std::round((a - real_modulo(a, b)) / b));
    case Arithmetic::modulo:
      return Value::real(real_modulo(a, b));
    case Arithmetic::power: {
      const double result = std::pow(a, b);
      if (!std::isfinite(result) && std::isfinite(a) && std::isfinite(b)) {
        rt.fail("the power is no finite number");
      }
      return Value::real(result);
    }
  }
  return {};
}

bool divides(Arithmetic op) {
  return op == Arithmetic::divide || op == Arithmetic::floor_divide || op == Arithmetic::modulo;
}

/// text * count or list * count
Value repeat(Runtime& rt, const Value& value, int64_t count) {
  const auto times = static_cast<uint64_t>(std::max<int64_t>(count, 0));
  const size_t size = value.text() ? value.text()->size() : value.list()->items.size();
  if (size != 0 && times > max_text / size) rt.fail("a repetition gives more than ", max_text);
  if (value.text()) {
    std::string out;
    rt.reserve_text(size * times);
    for (uint64_t i = 0; size != 0 && i < times; ++i) out += *value.text();
    return rt.text(std::move(out));
  }
  rt.work(size * times);
  std::vector<Value> items;
  for (uint64_t i = 0; size != 0 && i < times; ++i) {
    items.insert(items.end(), value.list()->items.begin(), value.list()->items.end());
  }
  return rt.list(std::move(items), value.list()->tuple);
}

Value join(Runtime& rt, const List& a, const List& b) {
  rt.work(a.items.size() + b.items.size());
  std::vector<Value> items = a.items;
  items.insert(items.end(), b.items.begin(), b.items.end());
  return rt.list(std::move(items), a.tuple);
}

bool repeats(const Value& value) {
  return value.text() || value.list();
}

}  // namespace

Value calculate(Runtime& rt, Arithmetic op, const Value& a, const Value& b) {
  for (const Value* value : {&a, &b}) {
    if (const Undefined* undefined = value->get<Undefined>()) rt.fail(*undefined->why);
  }
  int64_t m = 0, n = 0;
  const bool a_integer = to_integer(a, m), b_integer = to_integer(b, n);
  double x = 0, y = 0;
  if (to_real(a, x) && to_real(b, y)) {
    if (y == 0 && divides(op)) rt.fail("division by zero");
    if (op == Arithmetic::power && x == 0 && y < 0) rt.fail("zero to a negative power");
    const bool exact = a_integer && b_integer && !(op == Arithmetic::power && n < 0);
    return exact ? on_integers(rt, op, m, n) : on_reals(rt, op, x, y);
  }
  if (op == Arithmetic::add && a.text() && b.text()) {
    rt.check_text(a.text()->size() + b.text()->size());
    return rt.text(*a.text() + *b.text());
  }
  if (op == Arithmetic::add && a.list() && b.list() && a.list()->tuple == b.list()->tuple) {
    return join(rt, *a.list(), *b.list());
  }
  if (op == Arithmetic::multiply && repeats(a) && b_integer) return repeat(rt, a, n);
  if (op == Arithmetic::multiply && repeats(b) && a_integer) return repeat(rt, b, m);
  if (op == Arithmetic::modulo && a.text()) rt.unsupported("formatting a string with %");
  rt.fail("no ", symbols[static_cast<int>(op)], " of ", type_name(a), " and ", type_name(b));
}

Value negate(Runtime& rt, const Value& value) {
  if (const double* real = value.get<double>()) return Value::real(-*real);
  return calculate(rt, Arithmetic::subtract, Value::integer(0), value);
}

}  // namespace octet::jinja

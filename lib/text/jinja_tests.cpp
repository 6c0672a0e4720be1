// Tests: what comes after `is`.
#include "lib/text/jinja_builtins.h"
#include "lib/text/jinja_operators.h"
#include "lib/text/jinja_print.h"
#include "lib/text/jinja_text.h"

namespace octet::jinja {
namespace {

Value is_defined(Runtime&, const Value& self, Arguments&) {
  return Value::boolean(!self.is_undefined());
}
Value is_undefined(Runtime&, const Value& self, Arguments&) {
  return Value::boolean(self.is_undefined());
}
Value is_none(Runtime&, const Value& self, Arguments&) {
  return Value::boolean(self.is_none());
}
Value is_string(Runtime&, const Value& self, Arguments&) {
  return Value::boolean(self.text() != nullptr);
}
Value is_mapping(Runtime&, const Value& self, Arguments&) {
  return Value::boolean(self.dict() != nullptr);
}
/// An undefined value counts as empty here, in jinja2 too.
Value is_sequence(Runtime&, const Value& self, Arguments&) {
  return Value::boolean(self.text() || self.list() || self.dict() || self.is_undefined());
}
Value is_iterable(Runtime&, const Value& self, Arguments&) {
  return Value::boolean(self.text() || self.list() || self.dict() || self.loop() ||
                        self.is_undefined());
}
Value is_callable(Runtime&, const Value& self, Arguments&) {
  return Value::boolean(self.macro() || self.method() || self.is_undefined());
}
Value is_boolean(Runtime&, const Value& self, Arguments&) {
  return Value::boolean(self.get<bool>() != nullptr);
}
Value is_true_value(Runtime&, const Value& self, Arguments&) {
  return Value::boolean(self.get<bool>() && *self.get<bool>());
}
Value is_false_value(Runtime&, const Value& self, Arguments&) {
  return Value::boolean(self.get<bool>() && !*self.get<bool>());
}
Value is_integer(Runtime&, const Value& self, Arguments&) {
  return Value::boolean(self.get<int64_t>() != nullptr);
}
Value is_float(Runtime&, const Value& self, Arguments&) {
  return Value::boolean(self.get<double>() != nullptr);
}
Value is_number(Runtime&, const Value& self, Arguments&) {
  double real = 0;
  return Value::boolean(to_real(self, real));
}

bool divisible(Runtime& rt, const Value& self, const Value& by) {
  return !is_true(calculate(rt, Arithmetic::modulo, self, by));
}
Value is_odd(Runtime& rt, const Value& self, Arguments&) {
  const Value rest = calculate(rt, Arithmetic::modulo, self, Value::integer(2));
  return Value::boolean(equal(rt, rest, Value::integer(1)));
}
Value is_even(Runtime& rt, const Value& self, Arguments&) {
  return Value::boolean(divisible(rt, self, Value::integer(2)));
}
Value is_divisible(Runtime& rt, const Value& self, Arguments& args) {
  return Value::boolean(divisible(rt, self, args.required(rt, "num")));
}

Value is_eq(Runtime& rt, const Value& self, Arguments& args) {
  return Value::boolean(equal(rt, self, args.required(rt, "other")));
}
Value is_ne(Runtime& rt, const Value& self, Arguments& args) {
  return Value::boolean(!equal(rt, self, args.required(rt, "other")));
}
Value is_lt(Runtime& rt, const Value& self, Arguments& args) {
  return Value::boolean(order(rt, self, args.required(rt, "other")) < 0);
}
Value is_le(Runtime& rt, const Value& self, Arguments& args) {
  return Value::boolean(order(rt, self, args.required(rt, "other")) <= 0);
}
Value is_gt(Runtime& rt, const Value& self, Arguments& args) {
  return Value::boolean(order(rt, self, args.required(rt, "other")) > 0);
}
Value is_ge(Runtime& rt, const Value& self, Arguments& args) {
  return Value::boolean(order(rt, self, args.required(rt, "other")) >= 0);
}
Value is_in(Runtime& rt, const Value& self, Arguments& args) {
  return Value::boolean(contains(rt, args.required(rt, "seq"), self));
}

Value is_lower(Runtime& rt, const Value& self, Arguments&) {
  const std::string text = to_text(rt, self);
  return Value::boolean(is_all(text, CharacterClass::lower));
}
Value is_upper(Runtime& rt, const Value& self, Arguments&) {
  const std::string text = to_text(rt, self);
  return Value::boolean(is_all(text, CharacterClass::upper));
}

constexpr Builtin table[] = {
    {"defined", is_defined},
    {"undefined", is_undefined},
    {"none", is_none},
    {"string", is_string},
    {"mapping", is_mapping},
    {"sequence", is_sequence},
    {"iterable", is_iterable},
    {"callable", is_callable},
    {"boolean", is_boolean},
    {"true", is_true_value},
    {"false", is_false_value},
    {"integer", is_integer},
    {"float", is_float},
    {"number", is_number},
    {"odd", is_odd},
    {"even", is_even},
    {"divisibleby", is_divisible},
    {"equalto", is_eq},
    {"eq", is_eq},
    {"==", is_eq},
    {"ne", is_ne},
    {"!=", is_ne},
    {"lt", is_lt},
    {"lessthan", is_lt},
    {"<", is_lt},
    {"le", is_le},
    {"<=", is_le},
    {"gt", is_gt},
    {"greaterthan", is_gt},
    {">", is_gt},
    {"ge", is_ge},
    {">=", is_ge},
    {"in", is_in},
    {"lower", is_lower},
    {"upper", is_upper},
};

}  // namespace

std::span<const Builtin> tests() {
  return table;
}

}  // namespace octet::jinja

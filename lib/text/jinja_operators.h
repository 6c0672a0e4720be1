#pragma once
// Python's operators.
#include <compare>

#include "lib/text/jinja_runtime.h"

namespace octet::jinja {

enum class Arithmetic { add, subtract, multiply, divide, floor_divide, modulo, power };

/// Errors: operands of types that do not go together, overflow, division by zero.
Value calculate(Runtime& rt, Arithmetic op, const Value& a, const Value& b);
Value negate(Runtime& rt, const Value& value);

bool equal(Runtime& rt, const Value& a, const Value& b);
/// Errors: values of types that have no order.
std::partial_ordering order(Runtime& rt, const Value& a, const Value& b);
/// Adds a member to those of a dictionary, or replaces its value.
/// Errors: a key that Python could not hash.
void set_key(Runtime& rt, std::vector<std::pair<Value, Value>>& items, Value key, Value value);
/// item in container
bool contains(Runtime& rt, const Value& container, const Value& item);

/// object.name; undefined if there is none.
Value attribute(Runtime& rt, const Value& object, const std::string& name);
/// object[index]; undefined if there is none.
Value subscript(Runtime& rt, const Value& object, const Value& index);
/// object[start:stop:step], each of them none or an integer.
Value slice(Runtime& rt, const Value& object, const Value& start, const Value& stop,
            const Value& step);

/// What a for or a filter goes through: elements, keys, characters.
std::shared_ptr<const List> iterate(Runtime& rt, const Value& value);
/// len(); an undefined value has none.
int64_t length(Runtime& rt, const Value& value);

}  // namespace octet::jinja

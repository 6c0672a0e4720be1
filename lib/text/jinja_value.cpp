#include "lib/text/jinja_value.h"

#include <iterator>

#include "lib/text/jinja_builtins.h"

namespace octet::jinja {

Value Value::undefined(std::string why) {
  return Value(Kind(Undefined{std::make_shared<const std::string>(std::move(why))}));
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& [name, value] : items) {
    if (name.text() && *name.text() == key) return &value;
  }
  return nullptr;
}

Value* Namespace::find(std::string_view name) {
  for (auto& [key, value] : items) {
    if (key == name) return &value;
  }
  return nullptr;
}

bool to_integer(const Value& value, int64_t& out) {
  if (const bool* boolean = value.get<bool>()) {
    out = *boolean;
  } else if (const int64_t* integer = value.get<int64_t>()) {
    out = *integer;
  } else {
    return false;
  }
  return true;
}

bool to_real(const Value& value, double& out) {
  int64_t integer = 0;
  if (const double* real = value.get<double>()) {
    out = *real;
  } else if (to_integer(value, integer)) {
    out = static_cast<double>(integer);
  } else {
    return false;
  }
  return true;
}

bool is_true(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (double real = 0; to_real(value, real)) return real != 0;
  if (value.text()) return !value.text()->empty();
  if (value.list()) return !value.list()->items.empty();
  if (value.dict()) return !value.dict()->items.empty();
  return true;
}

const char* type_name(const Value& value) {
  // In the order of Value::Kind.
  static constexpr const char* names[] = {"NoneType",  "undefined", "bool",  "int",
                                          "float",     "str",       "list",  "dict",
                                          "namespace", "loop",      "macro", "function"};
  static_assert(std::size(names) == std::variant_size_v<Value::Kind>);
  if (value.list() && value.list()->tuple) return "tuple";
  return names[value.kind().index()];
}

int depth_of(const Value& value) {
  if (value.list()) return value.list()->depth;
  if (value.dict()) return value.dict()->depth;
  if (value.loop()) return value.loop()->items->depth + 1;
  if (value.method()) return depth_of(value.method()->self) + 1;
  return 0;
}

}  // namespace octet::jinja

#pragma once
// The filters, tests, functions and methods that templates can call, by name.
#include <span>
#include <string_view>

#include "lib/text/jinja_runtime.h"

namespace octet::jinja {

/// `self` is what a filter or test is applied to, or the method's object; functions have none.
struct Builtin {
  std::string_view name;
  Value (*function)(Runtime& rt, const Value& self, Arguments& args);
};

/// A function or method as a value.
struct Method {
  const Builtin* builtin;
  Value self;
};

/// Null if there is none of this name.
const Builtin* find_filter(std::string_view name);
const Builtin* find_test(std::string_view name);
const Builtin* find_function(std::string_view name);
const Builtin* find_method(const Value& self, std::string_view name);

/// Errors: also if there are arguments that the builtin does not take.
Value call(Runtime& rt, const Builtin& builtin, const Value& self, Arguments args);

// The tables behind them.
std::span<const Builtin> text_filters();
std::span<const Builtin> sequence_filters();
std::span<const Builtin> number_filters();
std::span<const Builtin> tests();
std::span<const Builtin> functions();
std::span<const Builtin> text_methods();
std::span<const Builtin> list_methods();
std::span<const Builtin> dict_methods();
std::span<const Builtin> loop_methods();

}  // namespace octet::jinja

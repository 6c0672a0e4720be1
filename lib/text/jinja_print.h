#pragma once
#include <string>

#include "lib/text/jinja_runtime.h"

namespace octet::jinja {

/// Appends the value as Python's str() gives it.
void print(Runtime& rt, const Value& value, std::string& out);
/// As Python's repr() gives it: what a list shows of its elements.
void print_repr(Runtime& rt, const Value& value, std::string& out);
std::string to_text(Runtime& rt, const Value& value);
/// repr() of a float: the fewest digits that read back as the same.
std::string format_real(double value);

}  // namespace octet::jinja

#pragma once
#include <string_view>

#include "lib/text/jinja_ast.h"

namespace octet::jinja {

inline constexpr size_t max_source = size_t{1} << 20;
inline constexpr int max_nesting = 100;  // blocks and brackets inside of each other
inline constexpr int max_height = 200;   // the same, and operators in a row

/// Errors: InvalidFile for a syntax error; Unsupported naming a tag, filter or test that octet
/// does not know. Both name the line.
Block parse(std::string_view source);

}  // namespace octet::jinja

#pragma once
#include <string>
#include <utility>
#include <vector>

#include "lib/text/jinja_ast.h"

namespace octet::jinja {

/// The template's text for these variables.
/// Errors: InvalidArgument where the template calls raise_exception; Unsupported; InvalidFile for
/// what a template gets wrong while it runs, and for one that takes too much time or memory.
std::string render(const Block& program, std::vector<std::pair<std::string, Value>> variables);

}  // namespace octet::jinja

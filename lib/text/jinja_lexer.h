#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace octet::jinja {

/// One token. Comments are gone, and white space is as the tags around it asked for.
struct Token {
  enum class Kind {
    text,            ///< between the tags
    block_begin,     ///< {%
    block_end,       ///< %}
    variable_begin,  ///< {{
    variable_end,    ///< }}
    name,
    string,  ///< unescaped
    integer,
    real,
    op,
    end,
  };
  Kind kind;
  int line;
  std::string text;
};

/// The tokens of a template, the last one `end`; with transformers' settings trim_blocks and
/// lstrip_blocks. Errors: InvalidFile with the line.
std::vector<Token> tokenize(std::string_view source);

}  // namespace octet::jinja

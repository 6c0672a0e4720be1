#pragma once
#include <optional>
#include <string>

#include "lib/text/jinja_runtime.h"

namespace octet::jinja {

struct JsonStyle {
  std::optional<std::string> indent;  ///< of one level; none: all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool ascii = false;  ///< \u escapes for all that is not ASCII
  bool sort_keys = false;
};

/// The value as Python's json.dumps writes it.
std::string to_json(Runtime& rt, const Value& value, const JsonStyle& style);

}  // namespace octet::jinja

#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace octet::serve {

using Json = nlohmann::ordered_json;

/// A request's body. Errors: ApiError 400 for what is not JSON or nested deeper than 64 levels.
Json parse_json(std::string_view text);

/// One line. Text that is not UTF-8 gets U+FFFD.
std::string dump(const Json& value);

}  // namespace octet::serve

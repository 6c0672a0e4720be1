#include "tools/serve/json.h"

#include "tools/serve/api_error.h"

namespace octet::serve {

Json parse_json(std::string_view text) {
  constexpr int max_depth = 64;
  // depth: of what is around the value that begins
  const auto check_depth = [](int depth, Json::parse_event_t event, Json&) {
    const bool begins =
        event == Json::parse_event_t::array_start || event == Json::parse_event_t::object_start;
    if (begins && depth >= max_depth)
      throw ApiError(400,
                     "the body is nested deeper than " + std::to_string(max_depth) + " levels");
    return true;
  };
  try {
    return Json::parse(text, check_depth);
  } catch (const Json::exception& error) {
    const std::string problem = error.what();  // "[json.exception.parse_error.101] parse ..."
    throw ApiError(400, "the body is not JSON: " + problem.substr(problem.find("] ") + 2));
  }
}

std::string dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace octet::serve

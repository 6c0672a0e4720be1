#pragma once
#include <string_view>

namespace octet::serve {

// Files of this folder that are part of the program (embed.cmake).
extern const std::string_view page_html;
extern const std::string_view openapi_json;

}  // namespace octet::serve

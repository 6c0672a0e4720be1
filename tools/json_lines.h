#pragma once
#include <iostream>
#include <string>

#include "common.h"

namespace octet::tools {

/// Reads JSON objects from stdin, a line each, and prints answer(object), a line each. Empty lines
/// are passed over. Errors: InvalidArgument naming the line.
template <class Answer>
void each_json_line(Answer answer) {
  int64_t number = 0;
  for (std::string line; std::getline(std::cin, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      std::cout << answer(Json::parse(line)).dump(-1, ' ', true, Json::error_handler_t::replace)
                << '\n'
                << std::flush;
    } catch (const Json::exception& error) {
      throw Error(ErrorCode::InvalidArgument,
                  "standard input, line " + std::to_string(number) + ": " + error.what());
    } catch (const Error& error) {
      throw Error(error.code(),
                  "standard input, line " + std::to_string(number) + ": " + error.what());
    }
  }
}

}  // namespace octet::tools

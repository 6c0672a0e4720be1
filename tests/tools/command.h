#pragma once
#include <string>
#include <vector>

namespace octet::testing {

struct CommandResult {
  int status = -1;  ///< exit status; 128 + signal if it was killed
  std::string out, err;
};

/// Runs the octet command with this standard input.
CommandResult octet(const std::vector<std::string>& arguments, const std::string& input = "");

}  // namespace octet::testing

#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace octet::testing {

struct CommandResult {
  int status = -1;  ///< exit status; 128 + signal if it was killed
  std::string out, err;
  double seconds = 0;
  /// The largest resident set. Linux counts that of the process which started it, too.
  int64_t peak_bytes = 0;
};

/// Runs the program words[0], a path, with this standard input.
CommandResult run_program(std::vector<std::string> words, const std::string& input = "");
/// Runs the octet command with this standard input.
CommandResult run_octet(const std::vector<std::string>& arguments, const std::string& input = "");
/// Sends the octet command SIGTERM when `ready` says so, or after 60 seconds.
CommandResult terminate_octet(const std::vector<std::string>& arguments,
                              const std::function<bool()>& ready);

}  // namespace octet::testing

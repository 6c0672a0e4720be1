#pragma once
// What tests of generated text share.
#include <octet/session.h>

#include <doctest/doctest.h>

#include <string>

namespace octet::testing {

inline GenerateOptions greedy(int64_t max_tokens) {
  GenerateOptions options;
  options.sampler.temperature = 0;
  options.max_tokens = max_tokens;
  return options;
}

inline std::string all_text(TextStream stream) {
  std::string text;
  for (std::string_view piece : stream) text += piece;
  return text;
}

/// make() must fail with this code and with this text in its message.
template <class Make>
void check_error(ErrorCode code, const std::string& message, const Make& make) {
  try {
    make();
    FAIL("no error: " << message);
  } catch (const Error& error) {
    CHECK_MESSAGE(error.code() == code, error.what());
    CHECK_MESSAGE(std::string(error.what()).find(message) != std::string::npos, error.what());
  }
}

}  // namespace octet::testing

#include "lib/core/error.h"

#include <doctest/doctest.h>

using namespace octet;

TEST_CASE("fail builds the message from its parts") {
  try {
    fail(ErrorCode::InvalidFile, "model.gguf", ": ", 3, " bytes, expected ", 4);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::InvalidFile);
    CHECK(std::string(error.what()) == "model.gguf: 3 bytes, expected 4");
    CHECK(std::string(to_string(error.code())) == "InvalidFile");
  }
}

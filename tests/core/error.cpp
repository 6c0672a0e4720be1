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

TEST_CASE("a message is one line of readable length, whatever names are in it") {
  const auto message = [](const std::string& name) {
    try {
      fail(ErrorCode::InvalidFile, "f: tensor ", name, " is missing");
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  CHECK(message(std::string("a\0b\nc\x1b[31m\x7f", 11)) == "f: tensor a?b?c?[31m? is missing");
  CHECK(message("\xc3\xa9") == "f: tensor \xc3\xa9 is missing");
  const std::string cut = message(std::string(10'000'000, 'x'));
  CHECK(cut.size() < 8'000);
  CHECK(cut.starts_with("f: tensor xxx"));
  CHECK(cut.ends_with("xxx is missing"));
}

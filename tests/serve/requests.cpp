// What a request may hold, and how wrong ones are told.
#include <doctest/doctest.h>

#include "tools/serve/api_error.h"
#include "tools/serve/chat_messages.h"
#include "tools/serve/fields.h"

using namespace octet;
using namespace octet::serve;

namespace {

/// The error that work throws: {status, parameter, message}.
template <class Work>
ApiError failure(Work work) {
  try {
    work();
  } catch (const ApiError& error) {
    return error;
  }
  FAIL("nothing was thrown");
  return {0, ""};
}

}  // namespace

TEST_CASE("JSON that is nested too deeply, broken or not UTF-8 is refused") {
  CHECK(parse_json(std::string(64, '[') + std::string(64, ']')).is_array());
  for (const std::string& text :
       {std::string(65, '[') + std::string(65, ']'), std::string(1 << 20, '['), std::string("{"),
        std::string(), std::string("NaN"), std::string("1e999"), std::string("\"\\ud800\""),
        std::string("\"\xff\"")}) {
    CAPTURE(text.substr(0, 20));
    CHECK(failure([&] { parse_json(text); }).status == 400);
  }
}

TEST_CASE("fields have types and ranges, and null counts as absent") {
  const Json body = parse_json(R"({"a": 1, "b": 1.0, "c": null, "d": "x", "e": 2.5, "f": true,
                                   "g": 18446744073709551615, "h": -3})");
  Fields fields(body);
  CHECK(fields.integer("a", 0, 5) == 1);
  CHECK(fields.integer("b", 0, 5) == 1);
  CHECK(!fields.integer("c", 0, 5));
  CHECK(!fields.number("none", 0, 5));
  CHECK(fields.text("d") == "x");
  CHECK(fields.number("e", 0, 2.5) == 2.5);
  CHECK(fields.boolean("f") == true);
  CHECK(failure([&] { fields.integer("a", 2, 5); }).message ==
        "a is 1, expected an integer from 2 to 5");
  for (const char* name : {"d", "e", "f", "g"}) {
    CAPTURE(name);
    CHECK(failure([&] { fields.integer(name, INT64_MIN, INT64_MAX); }).parameter == name);
  }
  CHECK(failure([&] { fields.number("d", 0, 1); }).status == 400);
  CHECK(failure([&] { fields.number("f", 0, 1); }).status == 400);
  CHECK(failure([&] { fields.boolean("a"); }).message == "a is 1, expected true or false");
  CHECK(failure([&] { fields.text("a"); }).status == 400);
  CHECK(failure([&] {
          fields.choice("d", {"y", "z"});
        }).message == "d is a string, expected one of \"y\", \"z\"");
  CHECK(failure([&] { fields.finish(); }).parameter == "h");
  fields.ignore({"h"});
  fields.finish();
}

TEST_CASE("what is not supported is refused only where it would have an effect") {
  const Json body = parse_json(R"({"tools": [], "echo": true})");
  Fields fields(body);
  fields.unsupported("tools", {Json::array()});
  fields.unsupported("suffix");
  CHECK(failure([&] { fields.unsupported("echo", {false}); }).code == "unsupported_parameter");
}

TEST_CASE("messages are texts or lists of text parts") {
  const Json body = parse_json(R"({"messages": [
    {"role": "developer", "content": "a"},
    {"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
    {"role": "assistant", "content": null, "reasoning_content": "x", "tool_calls": []}]})");
  Fields fields(body);
  const std::vector<ChatMessage> messages = read_messages(fields);
  REQUIRE(messages.size() == 3);
  CHECK(messages[0].role == "system");
  CHECK(messages[1].content == "bc");
  CHECK(messages[2].content.empty());
  const auto parameter_of = [](const char* list) {
    const Json wrong = {{"messages", Json::parse(list)}};
    return failure([&] {
             Fields of(wrong);
             read_messages(of);
           })
        .parameter;
  };
  CHECK(parameter_of("[]") == "messages");
  CHECK(parameter_of("[1]") == "messages[0]");
  CHECK(parameter_of(R"([{"role": "user"}])") == "messages[0].content");
  CHECK(parameter_of(R"([{"role": "tool", "content": "x"}])") == "messages[0].role");
  CHECK(parameter_of(R"([{"role": "user", "content": [{"type": "text"}]}])") ==
        "messages[0].content[0].text");
  CHECK(parameter_of(R"([{"role": "assistant", "tool_calls": [{}]}])") == "messages[0].tool_calls");
}

TEST_CASE("errors of the library become statuses, in OpenAI's form") {
  CHECK(to_api_error(Error(ErrorCode::InvalidArgument, "x")).status == 400);
  CHECK(to_api_error(Error(ErrorCode::Busy, "x")).status == 429);
  CHECK(to_api_error(Error(ErrorCode::InvalidFile, "x")).status == 500);
  const HttpResponse response = error_response(to_api_error(Error(ErrorCode::Busy, "full")));
  CHECK(Json::parse(response.body) ==
        Json::parse(R"({"error": {"message": "full", "type": "rate_limit_error", "param": null,
                                  "code": "queue_full"}})"));
  CHECK(response.headers[0] == std::pair<std::string, std::string>("Retry-After", "1"));
}

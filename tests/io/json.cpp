#include "lib/io/json.h"

#include <doctest/doctest.h>

#include "lib/core/error.h"

using namespace octet;

namespace {

std::string rejection(const std::string& text) {
  try {
    parse_json(text, "f.json");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::InvalidFile);
    CHECK(std::string(error.what()).starts_with("f.json: "));
    return error.what();
  }
  return "";
}

std::string repeat(std::string_view text, size_t times) {
  std::string all;
  for (size_t i = 0; i < times; ++i) all += text;
  return all;
}

}  // namespace

TEST_CASE("every kind of JSON value is kept as nlohmann's own parser keeps it") {
  const std::string text =
      R"({"a":[1,-2,3.5,true,false,null,"x\u00e9\ud83d\ude00",[],{}],"b":{"c":{"d":[[1],[2,[3]]]}}})";
  CHECK(parse_json(text, "f") == nlohmann::json::parse(text));
  CHECK(parse_json(" 7 ", "f") == 7);
}

TEST_CASE("JSON that breaks a rule is rejected") {
  for (const char* text :
       {"", "{", "[1,]", "{\"a\":016}", "{\"a\":NaN}", "[1] 2", "\"\xff\"", "[1e999]", "{\"a\" 1}"})
    CHECK(rejection(text).find("not valid JSON") != std::string::npos);
  CHECK(rejection(std::string("{}\0{}", 5)).find("NUL") != std::string::npos);
  CHECK(rejection(R"({"a":1,"b":2,"a":3})").find("\"a\" occurs twice") != std::string::npos);
  CHECK(rejection(R"({"a":{"x":1,"x":1}})").find("\"x\" occurs twice") != std::string::npos);
  CHECK(rejection(R"({"a":1,"\u0061":2})") != "");
  CHECK(rejection(R"([{"a":1},{"a":1}])") == "");
}

TEST_CASE("nesting and the number of values are bounded") {
  CHECK(rejection(repeat("[", 64) + repeat("]", 64)) == "");
  CHECK(rejection(repeat("[", 65) + repeat("]", 65)).find("64 levels") != std::string::npos);
  // Refused at the 65th level: neither the stack nor the time grows with the text.
  CHECK(rejection(repeat("[", 5 << 20) + repeat("]", 5 << 20)) != "");
  CHECK(rejection(repeat("{\"a\":", 2 << 20)) != "");
  CHECK(rejection("[" + repeat("0,", 5'000'000) + "0]").find("more than 4000000") !=
        std::string::npos);
}

TEST_CASE("a message about broken JSON is one short printable line") {
  const std::string message = rejection("[\"" + repeat("\x1b[31m\n", 100'000) + "\"]");
  CHECK(message.size() < 300);
  for (char c : message) CHECK((c >= ' ' && c <= '~'));
}

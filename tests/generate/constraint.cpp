// Constraints: the automaton against std::regex and lists of texts, masks against each token tried
// by itself, and generated texts against a JSON parser.
#include <octet/session.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>

#include "lib/generate/token_constraint.h"
#include "lib/model/model_impl.h"
#include "lib/text/unicode.h"
#include "support/generation.h"
#include "support/text_model.h"

using namespace octet;
using namespace octet::testing;

namespace {

bool matches(ConstraintAutomaton& automaton, std::string_view text) {
  int32_t state = automaton.start();
  for (char byte : text)
    if (state = automaton.next(state, static_cast<uint8_t>(byte));
        state == ConstraintAutomaton::dead)
      return false;
  return automaton.accepts(state);
}

ConstraintAutomaton regex_automaton(std::string_view pattern) {
  return ConstraintAutomaton(std::make_shared<const Nfa>(*regex_grammar(pattern, "test")));
}
ConstraintAutomaton schema_automaton(std::string_view schema) {
  return ConstraintAutomaton(std::make_shared<const Nfa>(*json_schema_grammar(schema)));
}

}  // namespace

TEST_CASE("a regular expression's automaton accepts what std::regex matches") {
  const char* const patterns[] = {
      "a*b+c?",      "(ab|a)(bc|c)*", "[a-c]{2,3}", "[^ab]+",         "(a|b)*abb",
      "a{0,2}b{2}",  "(?:a|bc){2,}",  ".*a.",       "\\d+(\\.\\d+)?", "[\\d\\-b]*",
      "\\w\\W?\\s*", "(a?){3}(b*c)*", "|a|",        "^ab$|^c$",       "[]a]?"};
  std::mt19937 random(1);
  for (const char* pattern : patterns) {
    CAPTURE(pattern);
    // A ] right after [ ends an empty set in ECMAScript; octet takes it as a character, as POSIX.
    const std::regex reference(std::string(pattern) == "[]a]?" ? "[\\]a]?" : pattern);
    ConstraintAutomaton automaton = regex_automaton(pattern);
    const std::string alphabet = "abc01. -]";
    for (int i = 0; i < 3000; ++i) {
      std::string text(random() % 7, ' ');
      for (char& c : text) c = alphabet[random() % (i % 2 ? 3 : alphabet.size())];
      CAPTURE(text);
      REQUIRE(matches(automaton, text) == std::regex_match(text, reference));
    }
  }
}

TEST_CASE("code points are whole: ranges and dots take UTF-8 of every length and nothing broken") {
  ConstraintAutomaton dot = regex_automaton("."), range = regex_automaton("[\\u00e9-\\u4e2d]+");
  for (const char* text : {"a", "\xc3\xa9", "\xe4\xb8\xad", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf",
                           "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xef\xbf\xbf"})
    CHECK(matches(dot, text));
  for (const char* text : {"", "ab", "\n", "\xc3", "\xa9", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                           "\xc0\x80", "\xe0\x80\x80", "\xf8\x88\x80\x80\x80"})
    CHECK(!matches(dot, text));
  CHECK(matches(range, "\xc3\xa9\xe4\xb8\xad\xe0\xa0\x80\xdf\xbf"));
  CHECK(!matches(range, "\xc3\xa8"));
  CHECK(!matches(range, "\xe4\xb8\xae"));
  // Every code point at the borders of the encoding's lengths, one by one.
  ConstraintAutomaton some = regex_automaton("[\\x7f-\\u0801]");
  for (uint32_t code = 0x70; code < 0x900; ++code) {
    std::string text;
    append_utf8(code, text);
    CHECK(matches(some, text) == (code >= 0x7f && code <= 0x801));
  }
}

TEST_CASE("JSON schemas accept the texts that fulfil them, and no others") {
  struct Case {
    const char* schema;
    std::vector<const char*> good, bad;
  };
  const Case cases[] = {
      {R"({"type": "boolean"})", {"true", "false"}, {"null", "True", "1", ""}},
      {R"({"type": "integer"})",
       {"0", "-17", "999999999999999999"},
       {"01", "1.0", "-0", "+1", "1e3"}},
      {R"({"type": "integer", "minimum": -3, "maximum": 120})",
       {"-3", "-1", "0", "7", "10", "99", "100", "120"},
       {"-4", "121", "200", "1000", "-10"}},
      {R"({"type": "integer", "minimum": 18})",
       {"18", "19", "100", "1800"},
       {"17", "1", "0", "-18"}},
      {R"({"type": "integer", "maximum": -7})", {"-7", "-8", "-70"}, {"-6", "0", "7"}},
      {R"({"type": "number"})", {"0", "-1.5", "2e10", "3.25E-2"}, {".5", "1.", "00", "1e", "NaN"}},
      {R"({"type": "string"})",
       {R"("")", R"("a b")", "\"\xc3\xa9\"", R"("\n\"\\\u0001")"},
       {"\"\n\"", R"("a)", R"(a)", R"("\x")", "\"\xc3\""}},
      {R"({"type": "string", "minLength": 2, "maxLength": 3})",
       {R"("ab")", R"("\"\"\"")", "\"\xc3\xa9\xe4\xb8\xad\""},
       {R"("a")", R"("abcd")"}},
      {R"({"type": "string", "pattern": "^a+$"})", {R"("a")", R"("aaa")"}, {R"("")", R"("ab")"}},
      {R"({"type": "string", "pattern": "b\\d"})", {R"("b1")", R"("xxb7y")"}, {R"("b")"}},
      {R"({"type": "string", "pattern": "^[\"\\\\]$"})", {R"("\"")", R"("\\")"}, {R"(""")"}},
      {R"({"type": "string", "format": "date"})",
       {R"("2024-12-31")", R"("1999-02-28")"},
       {R"("2024-13-01")", R"("2024-04-31")", R"("24-1-1")"}},
      {R"({"type": "string", "format": "ipv4"})",
       {R"("127.0.0.1")"},
       {R"("256.0.0.1")", R"("1.2.3")"}},
      {R"({"enum": ["red", 5, null, {"a": [1]}]})",
       {R"("red")", "5", "null", R"({"a":[1]})"},
       {R"("blue")", "red"}},
      {R"({"const": "x\"y"})", {R"("x\"y")"}, {R"("x")"}},
      {R"({"type": ["string", "null"]})", {R"("a")", "null"}, {"1"}},
      {R"({"anyOf": [{"type": "null"}, {"type": "integer"}]})", {"null", "5"}, {R"("a")"}},
      {R"({"type": "array", "items": {"type": "integer"}})",
       {"[]", "[1]", "[1, 2,3]", "[\n  1\n]"},
       {"[1,]", "[,1]", "[\"a\"]", "[1  ,2]"}},
      {R"({"type": "array", "items": {"type": "null"}, "minItems": 1, "maxItems": 2})",
       {"[null]", "[null,null]"},
       {"[]", "[null,null,null]"}},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"},
          "c": {"type": "boolean"}}, "required": ["b"], "additionalProperties": false})",
       {R"({"b":null})", R"({"a": 1, "b": null})", R"({"b":null,"c":true})",
        R"({"a":1,"b":null,"c":false})", "{\n  \"b\": null\n}"},
       {R"({})", R"({"a":1})", R"({"b":null,"a":1})", R"({,"b":null})", R"({"b":null,})",
        R"({"b":null,"d":1})"}},
      {R"({"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}}})",
       {"{}", R"({"a":null})", R"({"b":null})", R"({"a":null,"b":null})"},
       {R"({"b":null,"a":null})"}},
      {R"({"type": "object", "additionalProperties": {"type": "integer"}})",
       {"{}", R"({"x":1, "y":2})"},
       {R"({"x":"1"})"}},
      {R"({"type": "object"})", {"{}", R"({"a":{"b":[1,{"c":null}]}})"}, {"[]", "1"}},
      {R"({})", {"1", R"({"a":[[[1]]]})", "[]", R"("a")"}, {"[[[[[1]]]]]", "", "x"}},
      {R"({"$defs": {"p": {"type": "object", "properties": {"n": {"type": "string"}},
          "required": ["n"]}}, "type": "array", "items": {"$ref": "#/$defs/p"}})",
       {R"([{"n":"x"}])"},
       {R"([{}])"}},
  };
  for (const Case& one : cases) {
    CAPTURE(one.schema);
    ConstraintAutomaton automaton = schema_automaton(one.schema);
    for (const char* text : one.good) {
      CAPTURE(text);
      CHECK(matches(automaton, text));
      CHECK(nlohmann::json::accept(text));
    }
    for (const char* text : one.bad) {
      CAPTURE(text);
      CHECK(!matches(automaton, text));
    }
    CHECK(matches(automaton, automaton.shortest_end(automaton.start())));
  }
}

TEST_CASE("what a schema or an expression may not hold is named") {
  const auto schema = [](const char* text) { return [text] { Constraint::json_schema(text); }; };
  const auto regex = [](const char* text) { return [text] { Constraint::regex(text); }; };
  check_error(ErrorCode::Unsupported,
              "#/properties/age: the keyword 'exclusiveMinimum' is not known",
              schema(R"({"type": "object", "properties": {"age": {"type": "integer",
                        "exclusiveMinimum": 3}}})"));
  check_error(ErrorCode::Unsupported, "'oneOf'", schema(R"({"oneOf": [{}]})"));
  check_error(ErrorCode::Unsupported, "#/$defs/a leads back to itself",
              schema(R"({"$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}},
                        "$ref": "#/$defs/a"})"));
  std::string doubling = R"({"$ref": "#/$defs/d0", "$defs": {"d40": {"type": "integer"})";
  std::string chain = R"({"$ref": "#/$defs/d0", "$defs": {"d1000": {"type": "integer"})";
  const auto next = [](int i) { return R"({"$ref": "#/$defs/d)" + std::to_string(i + 1) + "\"}"; };
  const auto name = [](int i) { return ", \"d" + std::to_string(i) + "\": "; };
  for (int i = 0; i < 40; ++i)
    doubling += name(i) + R"({"type": "object", "properties": {"x": )" + next(i) +
                ", \"y\": " + next(i) + "}}";
  for (int i = 0; i < 1000; ++i) chain += name(i) + next(i);
  check_error(ErrorCode::Unsupported, "states", schema((doubling + "}}").c_str()));
  check_error(ErrorCode::Unsupported, "deeper than 64", schema((chain + "}}").c_str()));
  check_error(ErrorCode::Unsupported, "format \"email\"",
              schema(R"({"type": "string", "format": "email"})"));
  check_error(ErrorCode::InvalidArgument, "there is no type 'text'", schema(R"({"type": "text"})"));
  check_error(ErrorCode::InvalidArgument, "required names \"b\"",
              schema(R"({"type": "object", "properties": {"a": {}}, "required": ["b"]})"));
  check_error(ErrorCode::InvalidArgument, "minimum is above maximum",
              schema(R"({"type": "integer", "minimum": 5, "maximum": 4})"));
  check_error(ErrorCode::InvalidArgument, "", schema("{"));
  check_error(ErrorCode::InvalidArgument, "", schema("[1]"));
  check_error(ErrorCode::InvalidArgument, "no value fulfils 'false'", schema("false"));
  check_error(ErrorCode::InvalidArgument, "character 2: a ')' is missing", regex("(a"));
  check_error(ErrorCode::InvalidArgument, "there is no '('", regex("a)"));
  check_error(ErrorCode::InvalidArgument, "nothing to repeat", regex("*a"));
  check_error(ErrorCode::InvalidArgument, "more than 1000", regex("a{1001}"));
  check_error(ErrorCode::InvalidArgument, "no text fulfils", regex("[^\\x00-\\uffff]{1}[^\\w\\W]"));
  check_error(ErrorCode::Unsupported, "lazy", regex("a*?"));
  check_error(ErrorCode::Unsupported, "'(?' other", regex("(?=a)"));
  check_error(ErrorCode::Unsupported, "an anchor", regex("a^b"));
  check_error(ErrorCode::Unsupported, "states", regex("((a{1000}){1000}){1000}"));
  check_error(ErrorCode::InvalidArgument, "nested too deeply",
              regex(std::string(5000, '(').c_str()));
}

TEST_CASE("a mask allows the tokens whose bytes the automaton can read, and no others") {
  const TempDir folder;
  make_text_model("tiny-qwen2", folder.path("m"));
  const Tokenizer tokenizer = Tokenizer::open(fixture("tokenizer/qwen2.5"));
  const auto trie = std::make_shared<const TokenTrie>(tokenizer, std::vector<int32_t>{});
  const auto nfa = std::make_shared<const Nfa>(*json_schema_grammar(
      R"({"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}})"));
  TokenConstraint constraint(nfa, trie);
  ConstraintAutomaton automaton(nfa);
  for (const char* text : {"", "{", "{\"", "{\"name\": \"", "{\"name\": \"\xc3", "{\"n\":1"}) {
    CAPTURE(text);
    int32_t state = automaton.start(), same = constraint.start();
    for (const char* at = text; *at; ++at) state = automaton.next(state, static_cast<uint8_t>(*at));
    for (int32_t id : trie->tokenize(text)) same = constraint.after(same, id);
    std::vector<float> logits(static_cast<size_t>(tokenizer.size()) + 70, 1.0f);
    constraint.apply(same, logits);
    int64_t wrong = 0, allowed = 0;
    for (int32_t id = 0; id < static_cast<int32_t>(logits.size()); ++id) {
      int32_t next = state;
      for (char byte : trie->bytes(id))
        if (next != ConstraintAutomaton::dead)
          next = automaton.next(next, static_cast<uint8_t>(byte));
      const bool may = next != ConstraintAutomaton::dead && !trie->bytes(id).empty();
      wrong += may != (logits[static_cast<size_t>(id)] == 1.0f);
      allowed += may;
    }
    CHECK(wrong == 0);
    CHECK(allowed > 0);
  }
}

TEST_CASE("a constrained answer always parses, whatever the limit") {
  const char* schema = R"({"type": "object", "properties": {
      "name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
      "tags": {"type": "array", "items": {"enum": ["a", "bc"]}}},
      "required": ["name", "age"], "additionalProperties": false})";
  Session session(text_model(), {.context = 400});
  GenerateOptions options;
  options.constraint = Constraint::json_schema(schema);
  options.sampler.temperature = 2.0f;
  options.sampler.top_k = 0;
  int complete = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    options.sampler.seed = seed;
    options.max_tokens = 21 + static_cast<int64_t>(seed * 3);
    std::string text;
    for (std::string_view piece : session.complete("Tell", options)) text += piece;
    CAPTURE(text);
    REQUIRE(nlohmann::json::accept(text));
    const auto json = nlohmann::json::parse(text);
    CHECK(json.at("name").is_string());
    CHECK(json.at("age").get<int>() <= 150);
    CHECK(session.stats().generated_tokens <= options.max_tokens);
    complete += session.stats().stop == StopReason::constraint;
  }
  CHECK(complete > 30);
  options.max_tokens = 19;  // {"name":"","age":0} has 19 bytes
  for (std::string_view piece : session.complete("Tell", options)) CHECK(!piece.empty());
  options.max_tokens = 18;
  check_error(ErrorCode::InvalidArgument, "may take 19 tokens, 18 are left", [&] {
    for (std::string_view piece : session.complete("Tell", options)) CHECK(piece.empty());
  });
}

TEST_CASE("a regular expression constrains an answer, and end tokens end it where it may") {
  Session session(text_model(), {.context = 200});
  GenerateOptions options;
  options.constraint = Constraint::regex("(yes|no)( sir)*");
  options.sampler.temperature = 1.5f;
  options.sampler.top_k = 0;
  options.max_tokens = 40;
  const std::regex reference("(yes|no)( sir)*");
  for (uint64_t seed = 0; seed < 30; ++seed) {
    options.sampler.seed = seed;
    std::string text;
    for (std::string_view piece : session.complete("Well", options)) text += piece;
    CAPTURE(text);
    CHECK(std::regex_match(text, reference));
  }
}

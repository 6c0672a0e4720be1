// Chat templates against jinja2 with transformers' settings.
#include "lib/text/chat_template.h"

#include <doctest/doctest.h>
#include <octet/error.h>
#include <octet/session.h>

#include <ctime>
#include <random>
#include <span>

#include "lib/io/gguf.h"
#include "tests/text/tokenizer_fixtures.h"

using namespace octet;

namespace {

/// Written after make_chat.py's rules for the R1 distillations.
constexpr std::string_view kR1Template =
    "{%- set ns = namespace(system='') -%}\n"
    "{%- for m in messages if m['role'] == 'system' -%}{%- set ns.system = m['content'] -%}"
    "{%- endfor -%}\n"
    "{{- bos_token + ns.system -}}\n"
    "{%- for m in messages -%}\n"
    "    {%- if m['role'] == 'user' -%}\n"
    "        {{- '<｜User｜>' + m['content'] -}}\n"
    "    {%- elif m['role'] == 'assistant' -%}\n"
    "        {{- '<｜Assistant｜>' + m['content'].split('</think>')[-1] + eos_token -}}\n"
    "    {%- endif -%}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n"
    "    {{- '<｜Assistant｜><think>\\n' -}}\n"
    "{%- endif -%}\n";

std::string qwen_template() {
  return nlohmann::json::parse(fixture("tokenizer/qwen2.5/tokenizer_config.json"))["chat_template"];
}

std::string smollm2_template() {
  const std::string file = fixture("tokenizer/smollm2/vocab.gguf");
  return *Gguf(std::as_bytes(std::span(file)), "vocab.gguf").text("tokenizer.chat_template");
}

std::vector<ChatMessage> messages_of(const nlohmann::json& list) {
  std::vector<ChatMessage> messages;
  for (const auto& message : list) messages.push_back({message["role"], message["content"]});
  return messages;
}

void check_fixture(const std::string& name, const std::string& source) {
  const ChatTemplate chat(source);
  const auto lines = fixture_lines("chat/expected.jsonl");
  CHECK(lines.size() == 32);
  for (const auto& line : lines) {
    CAPTURE(line["messages"].dump());
    CHECK(chat.render(messages_of(line["messages"]), line["add_generation_prompt"],
                      "<｜begin▁of▁sentence｜>",
                      "<｜end▁of▁sentence｜>") == line["rendered"][name].get<std::string>());
  }
}

std::string render(const std::string& source) {
  return ChatTemplate(source).render({{"user", "Hi"}}, true, "<s>", "</s>");
}

struct Failure {
  const char* source;
  ErrorCode code;
  const char* words;  ///< in the message
};

void check_failures(std::span<const Failure> failures) {
  for (const Failure& failure : failures) {
    CAPTURE(failure.source);
    try {
      const std::string text = render(failure.source);
      FAIL_CHECK("rendered: " << text);
    } catch (const Error& error) {
      CHECK(to_string(error.code()) == std::string(to_string(failure.code)));
      const std::string message = error.what();
      CAPTURE(message);
      CHECK(message.find(failure.words) != message.npos);
    }
  }
}

std::string repeat(const std::string& text, size_t count) {
  std::string result;
  for (size_t i = 0; i < count; ++i) result += text;
  return result;
}

/// Renders what may be broken; anything but a text or an octet::Error ends the test.
void try_render(const std::string& source) {
  try {
    render(source);
  } catch (const Error&) {
  }
}

}  // namespace

TEST_CASE("the Qwen2.5 template renders every fixture conversation as transformers does") {
  check_fixture("qwen2.5", qwen_template());
}

TEST_CASE("the R1-Distill template renders every fixture conversation as transformers does") {
  check_fixture("r1-distill", std::string(kR1Template));
}

TEST_CASE("the SmolLM2 template renders every fixture conversation as transformers does") {
  check_fixture("smollm2", smollm2_template());
}

TEST_CASE("templates render, or fail, as in jinja2") {
  const auto lines = fixture_lines("templates/expected.jsonl");
  CHECK(lines.size() > 200);
  for (const auto& line : lines) {
    const std::string source = line["template"];
    CAPTURE(source);
    const auto rendered = [&] {
      return ChatTemplate(source).render(messages_of(line["messages"]),
                                         line["add_generation_prompt"], "<s>", "</s>");
    };
    if (line.contains("error")) {
      CHECK_THROWS_AS(rendered(), Error);
    } else {
      CHECK(rendered() == line["expected"].get<std::string>());
    }
  }
}

TEST_CASE("a template can be moved, and renders again what it rendered before") {
  ChatTemplate first(
      "{% set ns = namespace(n=0) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{{ bos_token }}");
  ChatTemplate second(std::move(first));
  CHECK(second.render({}, true, "a", "b") == "1a");
  CHECK(second.render({}, true, "c", "b") == "1c");
  first = std::move(second);
  CHECK(first.render({}, true, "a", "b") == "1a");
}

TEST_CASE("content that is not UTF-8 passes through") {
  const ChatTemplate chat("{{ messages[0].content | trim }}|{{ messages[0].content[::-1] }}");
  CHECK(chat.render({{"user", " a\xFF\xE4\xB8 "}}, true, "", "") ==
        "a\xFF\xE4\xB8| \xE4\xB8\xFF"
        "a ");
}

TEST_CASE("strftime_now gives the local time") {
  const std::time_t now = std::time(nullptr);
  char before[32], after[32];
  std::tm local = {};
  std::strftime(before, sizeof(before), "%d %b %Y %H:%M", localtime_r(&now, &local));
  const std::string text = render("{{ strftime_now('%d %b %Y %H:%M') }}");
  const std::time_t later = std::time(nullptr);
  std::strftime(after, sizeof(after), "%d %b %Y %H:%M", localtime_r(&later, &local));
  CHECK((text == before || text == after));
}

TEST_CASE("errors have a code, the line and what is wrong") {
  static constexpr Failure failures[] = {
      {"{{ raise_exception('Roles take turns!') }}", ErrorCode::InvalidArgument,
       "Roles take turns!"},
      {"a\n\n{{ 1 + }}", ErrorCode::InvalidFile, "line 3: unexpected '}}'"},
      {"{% if true %}\n{% for x in [] %}\n", ErrorCode::InvalidFile, "{% endfor %}"},
      {"\n{{ missing.key }}", ErrorCode::InvalidFile, "line 2: 'missing' is undefined"},
      {"{{ messages[0].name.first }}", ErrorCode::InvalidFile, "no attribute 'name'"},
      {"{{ 'a\nb' }}\n{{ 1 +\n'x' }}", ErrorCode::InvalidFile, "line 3: no + of int and str"},
      {"{#\n\n#}{{ 1 / 0 }}", ErrorCode::InvalidFile, "line 3: division by zero"},
      {"{{ 9223372036854775807 + 1 }}", ErrorCode::InvalidFile, "64 bits"},
      {"{{ (-9223372036854775807 - 1) // -1 }}", ErrorCode::InvalidFile, "64 bits"},
      {"{{ 3 ** 99 }}", ErrorCode::InvalidFile, "64 bits"},
      {"\n{% include 'x' %}", ErrorCode::Unsupported,
       "line 2: octet does not know the tag 'include'"},
      {"{% if false %}{{ 1 | wordwrap }}{% endif %}", ErrorCode::Unsupported, "filter 'wordwrap'"},
      {"{% if false %}{{ 1 is escaped }}{% endif %}", ErrorCode::Unsupported, "test 'escaped'"},
      {"{{ 'a'.encode() }}", ErrorCode::Unsupported, "'encode'"},
      {"{{ [].append(1) }}", ErrorCode::Unsupported, "'append'"},
      {"\n\n{{ lipsum() }}", ErrorCode::Unsupported,
       "line 3: octet does not know this function: 'lipsum'"},
      {"{{ ['a']|map('wordwrap')|list }}", ErrorCode::Unsupported, "filter 'wordwrap'"},
      {"{{ '%s' % 1 }}", ErrorCode::Unsupported, "%"},
      {"{% for x in [] recursive %}{% endfor %}", ErrorCode::Unsupported, "recursive"},
      {"{{ range(*[1]) }}", ErrorCode::Unsupported, "'*'"},
      {"{{ '\\N{DASH}' }}", ErrorCode::Unsupported, "\\N"},
      {"{{ '\\ud800' }}", ErrorCode::InvalidFile, "no character"},
  };
  check_failures(failures);
}

TEST_CASE("a template that nests or repeats without end is refused") {
  const auto refused = [](const std::string& source) {
    CAPTURE(source.substr(0, 60));
    CHECK_THROWS_AS(render(source), Error);
  };
  for (const char* open :
       {"(", "[", "{1:", "not ", "- ", "1 if 1 else ", "x[", "f(", "1+", "a.", "1|d|"}) {
    refused("{{ " + repeat(open, 50'000) + "1 }}");
  }
  const std::pair<const char*, const char*> around[] = {{"(", ")"},  {"[", "]"},     {"{1:", "}"},
                                                        {"x[", "]"}, {"1 + (", ")"}, {"f(", ")"}};
  for (const auto& [open, close] : around) {
    refused("{{ " + repeat(open, 20'000) + "1" + repeat(close, 20'000) + " }}");
  }
  for (const char* tag : {"{% if 1 %}", "{% for x in y %}", "{% set x %}", "{% macro m() %}"}) {
    refused(repeat(tag, 20'000));
  }
  for (const char* chain :
       {" + 1", ".a", "[0]", "|string", " or 0", " if 1", " is defined", "()"}) {
    refused("{{ 1" + repeat(chain, 50'000) + " }}");
  }
  CHECK(render("{{ " + repeat("(", 90) + "1" + repeat(")", 90) + " }}") == "1");
  CHECK(render("{{ 1" + repeat("~1", 5000) + " }}") == repeat("1", 5001));
  CHECK(render("{{ 1" + repeat(" + 1", 150) + " }}") == "151");
}

TEST_CASE("a template that takes too much time or memory is stopped") {
  static constexpr Failure failures[] = {
      {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", ErrorCode::InvalidFile, "too deeply"},
      {"{% macro m() %}{% for x in [1] %}{{ (m() | upper) ~ 1 }}{% endfor %}{% endmacro %}{{ m() "
       "}}",
       ErrorCode::InvalidFile, "too deeply"},
      {"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
       ErrorCode::InvalidFile, "steps"},
      {"{{ range(100001) }}", ErrorCode::InvalidFile, "100000"},
      {"{{ range(-9223372036854775807, 9223372036854775807) }}", ErrorCode::InvalidFile, "100000"},
      {"{{ 'a' * 99999999999 }}", ErrorCode::InvalidFile, "repetition"},
      {"{{ [[1] * 9000000] * 9000000 }}", ErrorCode::InvalidFile, ""},
      {"{% set x = 'a' * 1000000 %}{% for i in range(99) %}{{ x }}{% endfor %}",
       ErrorCode::InvalidFile, "bytes of text"},
      {"{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor "
       "%}",
       ErrorCode::InvalidFile, "bytes of text"},
      {"{% set n = namespace(x=[1]) %}{% for i in range(90) %}{% set n.x = [n.x, n.x] %}{% endfor "
       "%}"
       "{{ n.x }}",
       ErrorCode::InvalidFile, ""},
      {"{% set n = namespace(x=[1], y=[1]) %}{% for i in range(90) %}{% set n.x = [n.x, n.x] %}"
       "{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
       ErrorCode::InvalidFile, "steps"},
      {"{% set n = namespace(x=1) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}",
       ErrorCode::InvalidFile, "deep"},
      {"{% set n = namespace(x=[1]) %}{% for i in range(9999) %}{% set n.x = [n.x.count] %}"
       "{% endfor %}",
       ErrorCode::InvalidFile, "deep"},
      {"{% set x = 'a' * 8000000 %}{{ x | replace('a', 'b' * 1000) }}", ErrorCode::InvalidFile,
       "bytes of text"},
      {"{% set x = 'a ' * 8000000 %}{{ x.split() | length }}", ErrorCode::InvalidFile, "steps"},
      {"{% set x = 'a' * 8000000 %}{% for i in range(999) %}{{ 'a' * 4000000 ~ 'b' in x }}"
       "{% endfor %}",
       ErrorCode::InvalidFile, ""},
      {"{{ [[1]] | tojson(indent=9999999) }}", ErrorCode::InvalidFile, "bytes of text"},
      {"{{ 'a' | indent(99999999999) }}", ErrorCode::InvalidFile, "bytes of text"},
      {"{{ strftime_now('%0999999999d') }}", ErrorCode::InvalidFile, "date"},
  };
  check_failures(failures);
  CHECK_THROWS_AS(ChatTemplate(std::string(size_t{2} << 20, 'a')), Error);
}

TEST_CASE("values that hold each other in a circle are freed") {
  // LeakSanitizer (the debug preset) is what sees the failure.
  CHECK(render("{% set n = namespace() %}{% set n.own = [n] %}{% set n.self = n %}"
               "{% macro m() %}{% endmacro %}{% set n.m = m %}{% set l = [m, n] %}done") == "done");
  CHECK(render("{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}") ==
        "12");
}

TEST_CASE("damaged templates give an error or a text") {
  std::vector<std::string> sources = {qwen_template(), std::string(kR1Template),
                                      smollm2_template()};
  for (const auto& line : fixture_lines("templates/expected.jsonl")) {
    sources.push_back(line["template"]);
  }
  static constexpr std::string_view pieces[] = {
      "{{",   "}}",     "{%",    "%}",        "{#",        "#}",          "-",      "+",
      "'",    "\"",     "(",     ")",         "[",         "]",           "{",      "}",
      "|",    "~",      ".",     ",",         ":",         "**",          "//",     "==",
      " if ", " else ", " not ", " in ",      " is ",      "1",           "2.5e",   "\\",
      "\n",   "\xF0",   "loop",  "namespace", "{% raw %}", "{% set x %}", "[::-1]", "|tojson"};
  std::mt19937 random(20251);  // its numbers are the same everywhere, those of distributions not
  for (int round = 0; round < 6000; ++round) {
    std::string source = sources[random() % sources.size()];
    for (size_t change = random() % 3 + 1; change > 0 && !source.empty(); --change) {
      const size_t at = random() % source.size();
      const std::string_view piece = pieces[random() % std::size(pieces)];
      switch (random() % 4) {
        case 0:
          source.erase(at, random() % 8 + 1);
          break;
        case 1:
          source.insert(at, piece);
          break;
        case 2:
          source.replace(at, random() % 4, piece);
          break;
        default:
          source.resize(at);
      }
    }
    CAPTURE(source);
    try_render(source);
  }
}

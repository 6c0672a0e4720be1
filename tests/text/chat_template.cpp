// Chat templates against jinja2 with transformers' settings.
#include "lib/text/chat_template.h"

#include <doctest/doctest.h>
#include <octet/error.h>
#include <octet/session.h>

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

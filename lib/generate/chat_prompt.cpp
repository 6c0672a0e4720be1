// Conversations as prompts: the model's chat template, and its text as token ids.
#include <octet/generate.h>

#include <algorithm>

#include "lib/core/error.h"
#include "lib/model/model_impl.h"
#include "lib/text/tokenizer_impl.h"
#include "lib/text/unicode.h"

namespace octet {
namespace {

/// Two characters that stand in none of the messages: they enclose text of a message that spells an
/// added token, and tell after the template's work that it is plain text.
struct Marks {
  std::string begin, end;
};

Marks unused_marks(std::span<const ChatMessage> messages) {
  std::vector<std::string> found;
  for (char32_t code = 0x100000; found.size() < 2; ++code) {  // the private use area of plane 16
    require(code < 0x10fffe, ErrorCode::InvalidArgument,
            "the messages hold every private character of plane 16");
    std::string mark;
    append_utf8(code, mark);
    const auto holds = [&](const ChatMessage& message) {
      return message.content.find(mark) != std::string::npos;
    };
    if (std::none_of(messages.begin(), messages.end(), holds)) found.push_back(mark);
  }
  return {found[0], found[1]};
}

/// The message with marks around what spells an added token; returns whether there was any.
bool mark_added_tokens(const TokenizerImpl& tokenizer, const Marks& marks, ChatMessage& message) {
  const std::string text = std::move(message.content);
  message.content.clear();
  size_t at = 0, begin = 0, end = 0;
  bool any = false;
  for (int32_t id; (id = tokenizer.find_added(text, at, begin, end)) >= 0; at = end) {
    message.content.append(text, at, begin - at);
    const std::string token = text.substr(begin, end - begin);
    // Templates look for </think> in answers, and the model has written it as a token.
    const bool stays = message.role == "assistant" && !tokenizer.is_special(id);
    message.content += stays ? token : marks.begin + token + marks.end;
    any = any || !stays;
  }
  message.content.append(text, at);
  return any;
}

std::string joined(std::span<const ChatMessage> messages) {
  std::string text;
  for (const ChatMessage& message : messages) text += message.content;
  return text;
}

/// Encodes text in which marks enclose what is plain. (A template may have cut a pair apart.)
std::vector<int32_t> encode_marked(const Tokenizer& tokenizer, std::string_view text,
                                   const Marks& marks) {
  std::vector<int32_t> ids;
  bool plain = false;
  while (!text.empty()) {
    const size_t begin = text.find(marks.begin), end = text.find(marks.end);
    const size_t next = std::min({begin, end, text.size()});
    const std::vector<int32_t> part =
        tokenizer.encode(text.substr(0, next), {.parse_special = !plain});
    ids.insert(ids.end(), part.begin(), part.end());
    plain = begin < end;
    text.remove_prefix(std::min(text.size(), next + marks.begin.size()));
  }
  return ids;
}

}  // namespace

std::string render_chat(const Model& model, std::span<const ChatMessage> messages,
                        bool add_generation_prompt) {
  ModelImpl& impl = *model.impl();
  require(!impl.text.chat_template.empty(), ErrorCode::Unsupported,
          "this model has no chat template; use plain prompts (--raw)");
  // Parsed late: a model whose template octet does not know still continues plain text.
  std::call_once(impl.template_parsed,
                 [&] { impl.chat_template.emplace(impl.text.chat_template); });
  return impl.chat_template->render({messages.begin(), messages.end()}, add_generation_prompt,
                                    impl.text.bos_token, impl.text.eos_token);
}

std::vector<int32_t> encode_chat(const Model& model, std::span<const ChatMessage> messages,
                                 bool add_generation_prompt) {
  const Tokenizer& tokenizer = model.tokenizer();
  const bool has_template = !model.chat_template().empty();
  const auto text_of = [&](std::span<const ChatMessage> turns) {
    return has_template ? render_chat(model, turns, add_generation_prompt) : joined(turns);
  };
  // A template writes BOS itself, where the model has one.
  const bool add_bos = !has_template && tokenizer.adds_bos();
  std::vector<ChatMessage> marked(messages.begin(), messages.end());
  const Marks marks = unused_marks(messages);
  bool any = false;
  for (ChatMessage& message : marked) any |= mark_added_tokens(*tokenizer.impl(), marks, message);
  if (!any) return tokenizer.encode(text_of(messages), {.add_bos = add_bos});
  std::vector<int32_t> ids = tokenizer.encode("", {.add_bos = add_bos});
  const std::vector<int32_t> rest = encode_marked(tokenizer, text_of(marked), marks);
  ids.insert(ids.end(), rest.begin(), rest.end());
  return ids;
}

}  // namespace octet

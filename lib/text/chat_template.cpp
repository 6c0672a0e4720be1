#include "lib/text/chat_template.h"

#include <octet/session.h>

#include "lib/text/jinja_parser.h"
#include "lib/text/jinja_render.h"

namespace octet {
namespace {

jinja::Value text_value(std::string_view text) {
  return jinja::Value(jinja::Value::Kind(std::make_shared<const std::string>(text)));
}

jinja::Value messages_value(const std::vector<ChatMessage>& messages) {
  jinja::List list;
  list.depth = 2;
  for (const ChatMessage& message : messages) {
    jinja::Dict dict;
    dict.items.emplace_back(text_value("role"), text_value(message.role));
    dict.items.emplace_back(text_value("content"), text_value(message.content));
    list.items.emplace_back(std::make_shared<const jinja::Dict>(std::move(dict)));
  }
  return jinja::Value(jinja::Value::Kind(std::make_shared<const jinja::List>(std::move(list))));
}

}  // namespace

struct ChatTemplate::Program {
  jinja::Block statements;
};

ChatTemplate::ChatTemplate(std::string_view source)
    : program_(std::make_unique<Program>(Program{jinja::parse(source)})) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

std::string ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                 bool add_generation_prompt, std::string_view bos_token,
                                 std::string_view eos_token) const {
  // The names that transformers gives; it passes None for tools and documents that there are none.
  return jinja::render(program_->statements,
                       {{"messages", messages_value(messages)},
                        {"add_generation_prompt", jinja::Value::boolean(add_generation_prompt)},
                        {"bos_token", text_value(bos_token)},
                        {"eos_token", text_value(eos_token)},
                        {"tools", jinja::Value::none()},
                        {"documents", jinja::Value::none()}});
}

}  // namespace octet

#include "tools/serve/chat_messages.h"

#include "tools/serve/api_error.h"

namespace octet::serve {
namespace {

std::string read_content(Fields& message, bool optional) {
  const Json* content = message.any("content");
  if (!content && optional) return {};
  if (content && content->is_string()) return content->get<std::string>();
  if (!content || !content->is_array()) message.fail("content", "a string or a list of text parts");
  std::string text;
  for (size_t i = 0; i < content->size(); ++i) {
    Fields part((*content)[i], message.path("content") + '[' + std::to_string(i) + ']');
    if (!part.choice("type", {"text"})) part.fail("type", "\"text\"");
    const auto piece = part.text("text");
    if (!piece) part.fail("text", "a string");
    part.finish();
    text += *piece;
  }
  return text;
}

ChatMessage read_message(const Json& value, const std::string& name) {
  Fields message(value, name);
  const auto role = message.choice("role", {"system", "developer", "user", "assistant"});
  if (!role) message.fail("role", "\"system\", \"developer\", \"user\" or \"assistant\"");
  const bool assistant = *role == "assistant";
  ChatMessage result{*role == "developer" ? "system" : *role, read_content(message, assistant)};
  message.ignore({"name"});
  // What clients keep of an earlier answer and send back.
  if (assistant) {
    message.ignore({"reasoning_content"});
    message.unsupported("refusal");
    message.unsupported("audio");
    message.unsupported("annotations", {Json::array()});
    message.unsupported("tool_calls", {Json::array()});
    message.unsupported("function_call");
  }
  message.finish();
  return result;
}

}  // namespace

std::vector<ChatMessage> read_messages(Fields& fields) {
  const Json* value = fields.any("messages");
  if (!value || !value->is_array() || value->empty())
    fields.fail("messages", "a list of at least one message");
  std::vector<ChatMessage> messages;
  for (size_t i = 0; i < value->size(); ++i)
    messages.push_back(read_message((*value)[i], "messages[" + std::to_string(i) + ']'));
  return messages;
}

}  // namespace octet::serve

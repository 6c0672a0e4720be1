#pragma once
#include <octet/session.h>

#include <string>
#include <vector>

#include "lib/c/call.h"

namespace octet::c {

inline std::vector<ChatMessage> chat_messages(const octet_message* messages, size_t count) {
  std::vector<ChatMessage> turns;
  for (const octet_message& message : array(messages, count, "messages"))
    turns.push_back({std::string(text(message.role, "messages.role")),
                     std::string(text(message.content, "messages.content"))});
  return turns;
}

}  // namespace octet::c

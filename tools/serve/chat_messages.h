#pragma once
#include <octet/generate.h>

#include <vector>

#include "tools/serve/fields.h"

namespace octet::serve {

/// The field "messages": a list of {"role", "content"}, content being a text or a list of parts
/// {"type": "text", "text"}. Errors: ApiError 400 naming the message and the field.
std::vector<ChatMessage> read_messages(Fields& fields);

}  // namespace octet::serve

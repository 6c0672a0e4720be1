#pragma once
#include <octet/function_ref.h>

#include "tools/serve/answers.h"

namespace octet::serve {

/// Streams answers as chunks. Each is `head` with "choices" of one: first those of `begin`, then
/// choice(part) of each part, unless that is null; and if asked one without choices, with the usage
/// of all. Errors: ClientGone.
void stream_chunks(Exchange& exchange, Answers& answers, Json head, bool include_usage, Json begin,
                   FunctionRef<Json(const AnswerPart&)> choice);

}  // namespace octet::serve

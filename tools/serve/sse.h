#pragma once
#include <octet/function_ref.h>

#include "tools/serve/exchange.h"
#include "tools/serve/json.h"

namespace octet::serve {

/// Answers with server-sent events, as OpenAI's API streams: an event for each JSON object that
/// work(send) sends, and [DONE] after the last. A failure of work becomes an event
/// {"error": ...}, the last one. Errors: ClientGone.
void stream_events(Exchange& exchange, FunctionRef<void(FunctionRef<void(const Json&)> send)> work);

}  // namespace octet::serve

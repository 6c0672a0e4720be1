#include "tools/serve/sse.h"

#include "tools/serve/api_error.h"

namespace octet::serve {
namespace {

/// One line of data: JSON has no line breaks outside of its escapes.
std::string event(const std::string& data) {
  return "data: " + data + "\n\n";
}

}  // namespace

void stream_events(Exchange& exchange,
                   FunctionRef<void(FunctionRef<void(const Json&)> send)> work) {
  exchange.begin_stream({.status = 200,
                         .content_type = "text/event-stream",
                         .body = {},
                         .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}});
  try {
    work([&](const Json& data) { exchange.send(event(dump(data))); });
    exchange.send(event("[DONE]"));
  } catch (const ApiError& error) {
    exchange.send(event(error_body(error)));
  } catch (const Error& error) {
    exchange.send(event(error_body(to_api_error(error))));
  }
  exchange.end_stream();
}

}  // namespace octet::serve

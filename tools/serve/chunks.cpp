#include "tools/serve/chunks.h"

#include "tools/serve/sse.h"

namespace octet::serve {

void stream_chunks(Exchange& exchange, Answers& answers, Json head, bool include_usage, Json begin,
                   FunctionRef<Json(const AnswerPart&)> choice) {
  Json& chunk = head;
  if (include_usage) chunk["usage"] = nullptr;
  stream_events(exchange, [&](auto send) {
    const auto send_choice = [&](Json one) {
      chunk["choices"] = Json::array({std::move(one)});
      send(chunk);
    };
    for (Json& one : begin) send_choice(std::move(one));
    for (AnswerPart part; answers.next(part);)
      if (Json one = choice(part); !one.is_null()) send_choice(std::move(one));
    if (!include_usage) return;
    chunk["choices"] = Json::array();
    chunk["usage"] = answers.usage();
    send(chunk);
  });
}

}  // namespace octet::serve

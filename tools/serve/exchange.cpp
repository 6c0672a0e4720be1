#include "tools/serve/exchange.h"

namespace octet::serve {

HttpResponse& Exchange::prepare(HttpResponse& response) {
  record.status = response.status;
  response.headers.insert(response.headers.end(), common_headers.begin(), common_headers.end());
  response.headers.emplace_back("X-Request-Id", record.id);
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  return response;
}

void Exchange::check(bool written) {
  if (written) return;
  keep_alive = false;
  throw ClientGone();
}

void Exchange::reply(HttpResponse response) {
  check(connection_.write(prepare(response), request, keep_alive));
}

void Exchange::begin_stream(HttpResponse head) {
  keep_alive = keep_alive && request.chunks_known;
  check(connection_.begin_stream(prepare(head), request, keep_alive));
}

void Exchange::send(std::string_view part) {
  check(connection_.write_part(part, request));
}

void Exchange::end_stream() {
  check(connection_.end_stream(request));
}

}  // namespace octet::serve

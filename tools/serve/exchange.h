#pragma once
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

#include "tools/serve/connection.h"

namespace octet::serve {

/// The peer went away before its answer was complete.
struct ClientGone : std::exception {
  const char* what() const noexcept override { return "the client is gone"; }
};

/// What the log and the metrics tell of a request.
struct ExchangeRecord {
  std::string id;
  std::string client, method;
  std::string route = "-";  ///< its path; "-" where there is none
  int status = 0;           ///< 499: the client went away first
  int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
  double first_token_seconds = 0, seconds = 0;
  std::string prompt, answer;  ///< for the log, if that was asked for
};

/// One request and the answer to it, for the handler that makes it. One thread.
class Exchange {
 public:
  explicit Exchange(HttpConnection& connection) : connection_(connection) {}

  HttpRequest request;
  ExchangeRecord record;
  std::string parameter;  ///< what the * of the route's path stands for
  bool keep_alive = false;
  Headers common_headers;  ///< of every response to this request

  /// Answers with one response. Errors: ClientGone.
  void reply(HttpResponse response);
  /// Or in parts, over a long time. Errors: ClientGone, also from the two below.
  void begin_stream(HttpResponse head);
  void send(std::string_view part);
  void end_stream();

  /// True once a response has begun.
  bool answered() const { return record.status != 0; }
  bool client_gone() const { return connection_.socket().peer_closed(); }

 private:
  HttpResponse& prepare(HttpResponse& response);
  void check(bool written);

  HttpConnection& connection_;
};

}  // namespace octet::serve

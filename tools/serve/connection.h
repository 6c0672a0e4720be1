#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

#include "tools/serve/message.h"
#include "tools/serve/socket.h"

namespace octet::serve {

struct HttpLimits {
  int64_t header_bytes = 16 << 10;
  int64_t body_bytes = 2 << 20;
  std::chrono::milliseconds read_timeout{30'000};   ///< of a whole request from its first byte
  std::chrono::milliseconds idle_timeout{60'000};   ///< between requests
  std::chrono::milliseconds write_timeout{30'000};  ///< of what is written at a time
};

/// HTTP/1.0 and 1.1 on one socket. The parser is Boost.Beast's.
class HttpConnection {
 public:
  HttpConnection(Socket socket, const HttpLimits& limits);
  ~HttpConnection();

  /// What came of reading: a request, the end of the connection, or a status to refuse with.
  struct Outcome {
    enum class Kind { request, closed, refuse } kind;
    int status = 0;
    const char* reason = "";
  };
  /// Waits for a request's head. `first`: the client connected just now, so the time for a whole
  /// request runs already.
  Outcome read_head(HttpRequest& request, bool first);
  /// The body of the request whose head was read.
  Outcome read_body(HttpRequest& request);

  /// False, here and below, if the peer is gone or too slow.
  bool write(const HttpResponse& response, const HttpRequest& request, bool keep_alive);
  /// A response whose body comes in parts, of unknown length.
  bool begin_stream(const HttpResponse& head, const HttpRequest& request, bool keep_alive);
  bool write_part(std::string_view part, const HttpRequest& request);
  bool end_stream(const HttpRequest& request);

  Socket& socket() { return socket_; }
  const Socket& socket() const { return socket_; }

 private:
  struct Reader;
  bool write_bytes(std::string_view bytes);

  Socket socket_;
  const HttpLimits& limits_;
  std::unique_ptr<Reader> reader_;
};

}  // namespace octet::serve

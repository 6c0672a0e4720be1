#pragma once
// HTTP requests and responses as the rest of the server sees them.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace octet::serve {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;
  std::string path;  ///< without the query, not decoded
  Headers headers;
  std::string body;
  std::string client;        ///< the peer's numeric address
  bool keep_alive = false;   ///< the client would send another request on this connection
  bool chunks_known = true;  ///< false for HTTP/1.0, which knows no chunked responses

  /// The first of that name (case does not matter); empty if there is none.
  std::string_view header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type;
  std::string body;
  Headers headers;  ///< further ones
};

}  // namespace octet::serve

#include "tools/serve/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>

namespace octet::serve {
namespace {

namespace http = boost::beast::http;
using ErrorCode = boost::system::error_code;

/// A socket in the form that Beast reads from, with a deadline.
struct DeadlineStream {
  Socket& socket;
  Clock::time_point deadline;

  template <class Buffers>
  size_t read_some(const Buffers& buffers, ErrorCode& error) {
    const boost::asio::mutable_buffer buffer = *boost::asio::buffer_sequence_begin(buffers);
    size_t taken = 0;
    switch (socket.read(buffer.data(), buffer.size(), taken, deadline)) {
      case Socket::Status::done:
        error = {};
        break;
      case Socket::Status::timeout:
        error = boost::asio::error::timed_out;
        break;
      case Socket::Status::closed:
        error = boost::asio::error::eof;
        break;
    }
    return taken;
  }
  template <class Buffers>
  size_t read_some(const Buffers& buffers) {
    ErrorCode error;
    const size_t taken = read_some(buffers, error);
    if (error) throw boost::system::system_error(error);
    return taken;
  }
};

using Outcome = HttpConnection::Outcome;

Outcome outcome(const ErrorCode& error) {
  if (!error) return {Outcome::Kind::request};
  if (error == boost::asio::error::eof || error == http::error::end_of_stream ||
      error == http::error::partial_message)
    return {Outcome::Kind::closed};
  if (error == boost::asio::error::timed_out)
    return {Outcome::Kind::refuse, 408, "the request did not arrive in time"};
  if (error == http::error::header_limit || error == http::error::buffer_overflow)
    return {Outcome::Kind::refuse, 431, "the request's headers are too large"};
  if (error == http::error::body_limit)
    return {Outcome::Kind::refuse, 413, "the request's body is too large"};
  return {Outcome::Kind::refuse, 400, "this is not an HTTP/1.1 request"};
}

std::string_view view(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

/// The path of a request target in origin form; empty for other forms.
std::string path_of(std::string_view target) {
  if (!target.starts_with('/')) return {};
  return std::string(target.substr(0, target.find_first_of("?#")));
}

std::string response_head(const HttpResponse& response, bool keep_alive) {
  std::string head =
      "HTTP/1.1 " + std::to_string(response.status) + ' ' +
      std::string(view(http::obsolete_reason(static_cast<http::status>(response.status)))) + "\r\n";
  const auto line = [&](std::string_view name, std::string_view value) {
    head.append(name).append(": ").append(value).append("\r\n");
  };
  if (!response.content_type.empty()) line("Content-Type", response.content_type);
  for (const auto& [name, value] : response.headers) line(name, value);
  line("Connection", keep_alive ? "keep-alive" : "close");
  return head;
}

}  // namespace

struct HttpConnection::Reader {
  boost::beast::flat_buffer buffer{size_t{64} << 10};  // its most; what was read ahead stays here
  std::optional<http::request_parser<http::string_body>> parser;
  Clock::time_point deadline;
};

HttpConnection::HttpConnection(Socket socket, const HttpLimits& limits)
    : socket_(std::move(socket)), limits_(limits), reader_(std::make_unique<Reader>()) {}
HttpConnection::~HttpConnection() = default;

Outcome HttpConnection::read_head(HttpRequest& request, bool first) {
  ErrorCode error;
  if (!first && reader_->buffer.size() == 0) {
    DeadlineStream idle{socket_, Clock::now() + limits_.idle_timeout};
    reader_->buffer.commit(idle.read_some(reader_->buffer.prepare(4096), error));
    if (error) return {Outcome::Kind::closed};
  }
  auto& parser = reader_->parser.emplace();
  parser.header_limit(static_cast<uint32_t>(limits_.header_bytes));
  parser.body_limit(static_cast<uint64_t>(limits_.body_bytes));
  reader_->deadline = Clock::now() + limits_.read_timeout;
  DeadlineStream stream{socket_, reader_->deadline};
  http::read_header(stream, reader_->buffer, parser, error);
  if (error) return outcome(error);

  const auto& message = parser.get();
  request = {};
  request.method = view(message.method_string());
  request.path = path_of(view(message.target()));
  for (const auto& field : message)
    request.headers.emplace_back(view(field.name_string()), view(field.value()));
  request.client = socket_.peer_address();
  request.keep_alive = parser.keep_alive();
  request.chunks_known = message.version() >= 11;
  return {Outcome::Kind::request};
}

Outcome HttpConnection::read_body(HttpRequest& request) {
  if (request.header("Expect") == "100-continue" && !write_bytes("HTTP/1.1 100 Continue\r\n\r\n"))
    return {Outcome::Kind::closed};
  ErrorCode error;
  DeadlineStream stream{socket_, reader_->deadline};
  http::read(stream, reader_->buffer, *reader_->parser, error);
  request.body = std::move(reader_->parser->get().body());
  return outcome(error);
}

bool HttpConnection::write_bytes(std::string_view bytes) {
  return socket_.write(bytes, Clock::now() + limits_.write_timeout) == Socket::Status::done;
}

bool HttpConnection::write(const HttpResponse& response, const HttpRequest& request,
                           bool keep_alive) {
  std::string bytes = response_head(response, keep_alive);
  if (response.status != 204)
    bytes += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  bytes += "\r\n";
  if (request.method != "HEAD") bytes += response.body;
  return write_bytes(bytes);
}

bool HttpConnection::begin_stream(const HttpResponse& head, const HttpRequest& request,
                                  bool keep_alive) {
  std::string bytes = response_head(head, keep_alive);
  if (request.chunks_known) bytes += "Transfer-Encoding: chunked\r\n";
  return write_bytes(bytes + "\r\n");
}

bool HttpConnection::write_part(std::string_view part, const HttpRequest& request) {
  if (!request.chunks_known) return write_bytes(part);
  char size[20];
  std::snprintf(size, sizeof size, "%zx\r\n", part.size());
  return write_bytes(std::string(size).append(part).append("\r\n"));
}

bool HttpConnection::end_stream(const HttpRequest& request) {
  return !request.chunks_known || write_bytes("0\r\n\r\n");
}

}  // namespace octet::serve

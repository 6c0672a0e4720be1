// HTTP on one socket: requests in all pieces, limits, and answers.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "tools/serve/connection.h"
#include "tools/serve/connection_table.h"

using namespace octet::serve;
using Kind = HttpConnection::Outcome::Kind;

namespace {

/// Both ends of a connection.
struct Pair {
  int client;
  HttpLimits limits;
  HttpConnection server;

  explicit Pair(HttpLimits limits_ = {}) : Pair(make(), limits_) {}
  ~Pair() { close(client); }

  void send(std::string_view bytes) const {
    REQUIRE(write(client, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  std::string received() const {
    std::string all(1 << 16, '\0');
    const ssize_t count = read(client, all.data(), all.size());
    all.resize(count > 0 ? static_cast<size_t>(count) : 0);
    return all;
  }

 private:
  struct Ends {
    int fds[2];
  };
  static Ends make() {
    Ends ends;
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.fds) == 0);
    return ends;
  }
  Pair(Ends ends, HttpLimits limits_)
      : client(ends.fds[0]), limits(limits_), server(Socket(Descriptor(ends.fds[1])), limits) {}
};

HttpLimits impatient() {
  HttpLimits limits;
  limits.read_timeout = limits.idle_timeout = limits.write_timeout = std::chrono::milliseconds(50);
  return limits;
}

}  // namespace

TEST_CASE("a request is read however it is cut, and the next one after it") {
  const std::string one =
      "POST /a?b=c HTTP/1.1\r\nHost: h\r\nX-Thing: 1\r\nContent-Length: 3\r\n\r\nxyz";
  const std::string two = "GET /second HTTP/1.0\r\n\r\n";
  for (size_t cut : {size_t{1}, size_t{10}, one.size() - 1, one.size(), one.size() + 5}) {
    CAPTURE(cut);
    Pair pair;
    const std::string all = one + two;
    std::thread sender([&] {
      pair.send(all.substr(0, cut));
      pair.send(all.substr(cut));
    });
    HttpRequest request;
    CHECK(pair.server.read_head(request, true).kind == Kind::request);
    CHECK(pair.server.read_body(request).kind == Kind::request);
    CHECK(request.method == "POST");
    CHECK(request.path == "/a");
    CHECK(request.header("x-thing") == "1");
    CHECK(request.header("none").empty());
    CHECK(request.body == "xyz");
    CHECK(request.keep_alive);
    CHECK(pair.server.read_head(request, false).kind == Kind::request);
    CHECK(pair.server.read_body(request).kind == Kind::request);
    CHECK(request.path == "/second");
    CHECK(!request.keep_alive);
    CHECK(!request.chunks_known);
    sender.join();
  }
}

TEST_CASE("a body in chunks is joined") {
  Pair pair;
  pair.send(
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
  HttpRequest request;
  REQUIRE(pair.server.read_head(request, true).kind == Kind::request);
  REQUIRE(pair.server.read_body(request).kind == Kind::request);
  CHECK(request.body == "abc");
}

TEST_CASE("what is too large, broken or late is refused with its status") {
  HttpLimits limits = impatient();
  limits.header_bytes = 1000;
  limits.body_bytes = 100;
  const auto status_of = [&](const std::string& bytes) {
    Pair pair(limits);
    pair.send(bytes);
    HttpRequest request;
    HttpConnection::Outcome outcome = pair.server.read_head(request, true);
    if (outcome.kind == Kind::request) outcome = pair.server.read_body(request);
    return outcome.kind == Kind::refuse ? outcome.status : 0;
  };
  const std::string long_text(5000, 'x');
  CHECK(status_of("GET /" + long_text + " HTTP/1.1\r\n\r\n") == 431);
  CHECK(status_of("GET / HTTP/1.1\r\nA: " + long_text + "\r\n\r\n") == 431);
  CHECK(status_of("POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n") == 413);
  CHECK(status_of("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" +
                  std::string(101, 'x')) == 413);
  CHECK(status_of("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx") == 400);
  CHECK(status_of("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n") == 400);
  CHECK(status_of("nonsense\r\n\r\n") == 400);
  CHECK(status_of("GET / HTTP/1.1\r\nA") == 408);
  CHECK(status_of("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc") == 408);
}

TEST_CASE("a connection that ends or idles is closed without an answer") {
  Pair pair(impatient());
  HttpRequest request;
  CHECK(pair.server.read_head(request, false).kind == Kind::closed);
  CHECK(!pair.server.socket().peer_closed());
  shutdown(pair.client, SHUT_WR);
  CHECK(pair.server.socket().peer_closed());
  CHECK(pair.server.read_head(request, true).kind == Kind::closed);
}

TEST_CASE("answers come whole or in chunks") {
  Pair pair;
  HttpRequest request;
  request.method = "GET";
  CHECK(pair.server.write({404, "text/plain", "no", {{"A", "b"}}}, request, false));
  CHECK(pair.received() ==
        "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nA: b\r\nConnection: close\r\n"
        "Content-Length: 2\r\n\r\nno");
  request.method = "HEAD";
  CHECK(pair.server.write({200, "text/plain", "yes", {}}, request, true));
  CHECK(pair.received().ends_with("Content-Length: 3\r\n\r\n"));
  CHECK(pair.server.begin_stream({200, "text/plain", "", {}}, request, true));
  CHECK(pair.received().ends_with("Transfer-Encoding: chunked\r\n\r\n"));
  CHECK(pair.server.write_part("sixteen letters.", request));
  CHECK(pair.server.end_stream(request));
  CHECK(pair.received() == "10\r\nsixteen letters.\r\n0\r\n\r\n");
}

TEST_CASE("writing to a peer that does not read, or is gone, fails in time") {
  Pair pair(impatient());
  HttpRequest request;
  bool written = true;
  for (int i = 0; i < 1000 && written; ++i)
    written = pair.server.write_part(std::string(1 << 16, 'x'), request);
  CHECK(!written);
  Pair gone(impatient());
  shutdown(gone.client, SHUT_RDWR);
  CHECK(!gone.server.write_part("x", request));
}

TEST_CASE("who waits longest makes place, who is served stays") {
  using State = ConnectionTable::State;
  ConnectionTable table(2);
  Pair a, b, c, d;
  const auto ended = [](const Pair& pair) {
    char byte;
    return recv(pair.client, &byte, 1, MSG_DONTWAIT) == 0;
  };
  ConnectionTable::Seat first(table, a.server.socket().fd());
  ConnectionTable::Seat second(table, b.server.socket().fd());
  first.set(State::serving);
  first.set(State::waiting);  // since later than the second
  {
    ConnectionTable::Seat third(table, c.server.socket().fd());
    CHECK(third.taken());
    CHECK(ended(b));
    CHECK(!ended(a));
    first.set(State::serving);
    third.set(State::serving);
    CHECK(!ConnectionTable::Seat(table, d.server.socket().fd()).taken());
    CHECK(table.counts().serving == 2);
    CHECK(table.counts().evicted == 1);
    CHECK(table.counts().refused == 1);
  }
  table.stop_waiting();
  CHECK(!ended(a));
  first.set(State::waiting);
  CHECK(ended(a));
  CHECK(!ConnectionTable::Seat(table, d.server.socket().fd()).taken());
}

#include "tools/serve/server.h"

#include <sys/socket.h>

#include <cstdio>
#include <random>

namespace octet::serve {
namespace {

// Threads beyond max_connections, so that a connection for which there is no place is told so.
constexpr int64_t spare_threads = 4;

}  // namespace

Server::Server(const ServerOptions& options, RequestHandler& handler)
    : options_(options),
      handler_(handler),
      listener_(listen_on(options.host, options.port)),
      table_(options.max_connections),
      run_(std::random_device()()) {}

Server::~Server() {
  stop_accepting();
  table_.stop_all();
  for (std::thread& thread : threads_) thread.join();
}

void Server::start() {
  for (int64_t i = 0; i < options_.max_connections + spare_threads; ++i)
    threads_.emplace_back([this] { accept_connections(); });
}

void Server::stop_accepting() {
  stopping_ = true;
  shutdown(listener_.get(), SHUT_RDWR);  // wakes the threads in accept()
  table_.stop_waiting();
}

void Server::accept_connections() {
  while (!stopping_) {
    Descriptor fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (fd.get() >= 0) {
      try {
        serve(Socket(std::move(fd)));
      } catch (const std::exception&) {
        // Out of memory: this connection ends, the others go on.
      }
    } else if (!stopping_) {
      // Out of descriptors or memory, or a connection that ended before it was accepted.
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
}

void Server::turn_away(Socket& socket) {
  constexpr std::string_view answer =
      "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n"
      "Connection: close\r\n\r\n";
  socket.write(answer, Clock::now());  // never waits: a new connection has room for this
}

void Server::serve(Socket socket) {
  HttpConnection connection(std::move(socket), options_.limits);
  // Gone before the descriptor is closed: the table may shut it down until then.
  ConnectionTable::Seat seat(table_, connection.socket().fd());
  if (!seat.taken()) return turn_away(connection.socket());
  for (bool first = true; serve_request(connection, seat, first); first = false)
    seat.set(ConnectionTable::State::waiting);
  seat.set(ConnectionTable::State::waiting);
  connection.socket().close_gently();
}

bool Server::serve_request(HttpConnection& connection, ConnectionTable::Seat& seat, bool first) {
  Exchange exchange(connection);
  HttpConnection::Outcome outcome = connection.read_head(exchange.request, first);
  if (outcome.kind == HttpConnection::Outcome::Kind::closed) return false;
  const Clock::time_point start = Clock::now();
  exchange.record.id = next_id();
  exchange.record.client = exchange.request.client;
  exchange.record.method = exchange.request.method;
  try {
    bool admitted = false;
    if (outcome.kind == HttpConnection::Outcome::Kind::request &&
        (admitted = handler_.admit(exchange)))
      outcome = connection.read_body(exchange.request);
    if (outcome.kind == HttpConnection::Outcome::Kind::closed) throw ClientGone();
    if (outcome.kind == HttpConnection::Outcome::Kind::refuse) {
      handler_.refuse(exchange, outcome.status, outcome.reason);
    } else if (admitted) {
      seat.set(ConnectionTable::State::serving);
      exchange.keep_alive = exchange.request.keep_alive && !stopping_;
      handler_.handle(exchange);
    }
  } catch (const ClientGone&) {
    exchange.record.status = 499;
    exchange.keep_alive = false;
  }
  exchange.record.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  handler_.done(exchange.record);
  return exchange.keep_alive;
}

std::string Server::next_id() {
  char id[40];
  std::snprintf(id, sizeof id, "%08llx-%llu", static_cast<unsigned long long>(run_),
                static_cast<unsigned long long>(++exchanges_));
  return id;
}

}  // namespace octet::serve

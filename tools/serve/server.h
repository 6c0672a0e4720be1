#pragma once
#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "tools/serve/connection_table.h"
#include "tools/serve/exchange.h"

namespace octet::serve {

/// What answers requests; called by several threads at a time.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  /// After the head was read: true, or false if it answered already and the body is not wanted.
  virtual bool admit(Exchange& exchange) = 0;
  /// After the body was read. Errors: ClientGone.
  virtual void handle(Exchange& exchange) = 0;
  /// Answers what was refused while it was read.
  virtual void refuse(Exchange& exchange, int status, const char* reason) = 0;
  /// The exchange is over.
  virtual void done(const ExchangeRecord& record) = 0;
};

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;
  int64_t max_connections = 256;
  HttpLimits limits;
};

/// A thread for each connection that may be open, and a few more that turn others away.
class Server {
 public:
  /// Listens from here on. Errors: InvalidArgument, Io.
  Server(const ServerOptions& options, RequestHandler& handler);
  /// Ends every connection.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const { return local_port(listener_.get()); }
  bool loopback() const { return is_loopback(listener_.get()); }
  ConnectionTable::Counts connections() const { return table_.counts(); }
  /// Accepts requests. Before this, connections wait.
  void start();
  /// No more connections; those that wait for a request end.
  void stop_accepting();

 private:
  void accept_connections();
  void turn_away(Socket& socket);
  void serve(Socket socket);
  bool serve_request(HttpConnection& connection, ConnectionTable::Seat& seat, bool first);
  std::string next_id();

  const ServerOptions options_;
  RequestHandler& handler_;
  Descriptor listener_;
  ConnectionTable table_;
  std::atomic<bool> stopping_ = false;
  std::atomic<uint64_t> exchanges_ = 0;
  const uint64_t run_;  // a random number in the ids of this run
  std::vector<std::thread> threads_;
};

}  // namespace octet::serve

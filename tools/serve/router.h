#pragma once
#include <functional>
#include <string>
#include <vector>

#include "tools/serve/api_key.h"
#include "tools/serve/server.h"

namespace octet::serve {

struct Route {
  std::string method;  ///< GET (HEAD follows) or POST
  std::string path;    ///< "/v1/models/*": the * stands for the rest, in Exchange::parameter
  enum class Access {
    open,      ///< also without a key, and while the server ends
    with_key,  ///< with a key, if the server has keys
    work,      ///< the same, and not while the server ends
  } access;
  std::function<void(Exchange&)> handle;
};

struct RouterOptions {
  ApiKeys keys;
  std::vector<std::string> cors_origins;  ///< "*": all
};

/// Finds who answers a request, and turns away what may not pass.
class Router : public RequestHandler {
 public:
  Router(RouterOptions options, std::function<void(const ExchangeRecord&)> on_done)
      : options_(std::move(options)), on_done_(std::move(on_done)) {}

  /// Whether requests must name this machine as their host. A page in a browser could otherwise
  /// reach a server on loopback by a name that it makes resolve to 127.0.0.1 (DNS rebinding).
  void check_hosts(bool only_local) { only_local_hosts_ = only_local; }
  void add(Route route) { routes_.push_back(std::move(route)); }
  /// From now on new work is refused with 503.
  void drain() { draining_ = true; }
  bool draining() const { return draining_; }

  bool admit(Exchange& exchange) override;
  void handle(Exchange& exchange) override;
  void refuse(Exchange& exchange, int status, const char* reason) override;
  void done(const ExchangeRecord& record) override { on_done_(record); }

 private:
  const Route* find(Exchange& exchange) const;
  void check(const Exchange& exchange, const Route& route) const;
  bool answer_preflight(Exchange& exchange) const;
  void allow_origin(Exchange& exchange) const;

  RouterOptions options_;
  std::function<void(const ExchangeRecord&)> on_done_;
  std::vector<Route> routes_;
  bool only_local_hosts_ = true;
  std::atomic<bool> draining_ = false;
};

}  // namespace octet::serve

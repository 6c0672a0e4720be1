#include "tools/serve/router.h"

#include <strings.h>

#include <algorithm>
#include <new>

#include "tools/serve/api_error.h"

namespace octet::serve {
namespace {

bool matches(const Route& route, std::string_view path, std::string* parameter) {
  const std::string_view pattern = route.path;
  if (!pattern.ends_with('*')) return path == pattern;
  const std::string_view prefix = pattern.substr(0, pattern.size() - 1);
  if (!path.starts_with(prefix) || path.size() == prefix.size()) return false;
  if (parameter) *parameter = path.substr(prefix.size());
  return true;
}

bool takes(const Route& route, std::string_view method) {
  return route.method == method || (route.method == "GET" && method == "HEAD");
}

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

/// The host of a Host header, without the port.
std::string_view host_name(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

bool is_local(std::string_view host) {
  const std::string_view name = host_name(host);
  return same(name, "localhost") || name == "[::1]" ||
         (name.starts_with("127.") &&
          name.find_first_not_of("0123456789.") == std::string_view::npos);
}

bool is_json(std::string_view content_type) {
  const std::string_view media = content_type.substr(0, content_type.find(';'));
  return same(media.substr(0, media.find(' ')), "application/json");
}

/// True if the work was done; what it threw is answered. Errors: ClientGone.
template <class Work>
bool guarded(Exchange& exchange, Work work) {
  ApiError failure(500, "");
  try {
    work();
    return true;
  } catch (const ClientGone&) {
    throw;
  } catch (const ApiError& error) {
    failure = error;
  } catch (const Error& error) {
    failure = to_api_error(error);
  } catch (const std::bad_alloc&) {
    failure = ApiError(503, "not enough memory");
  } catch (const std::exception& error) {
    failure = ApiError(500, std::string("Internal: ") + error.what());
  }
  if (exchange.answered()) throw ClientGone();  // too late to tell: the connection ends
  exchange.reply(error_response(failure));
  return false;
}

}  // namespace

const Route* Router::find(Exchange& exchange) const {
  const HttpRequest& request = exchange.request;
  std::string allowed;
  for (const Route& route : routes_) {
    if (!matches(route, request.path, &exchange.parameter)) continue;
    exchange.record.route = route.path;
    if (takes(route, request.method)) return &route;
    allowed += (allowed.empty() ? "" : ", ") + route.method;
  }
  if (allowed.empty())
    throw ApiError(404, "there is nothing at this path; /openapi.json lists what there is");
  exchange.common_headers.emplace_back("Allow", allowed);
  throw ApiError(405, "this path takes " + allowed);
}

void Router::check(const Exchange& exchange, const Route& route) const {
  const HttpRequest& request = exchange.request;
  if (only_local_hosts_ && !is_local(request.header("Host")))
    throw ApiError(403, "the Host header must name this machine: localhost, 127.0.0.1 or [::1]");
  if (route.access == Route::Access::open) return;
  if (options_.keys.required() && !options_.keys.accepts(request.header("Authorization")))
    throw ApiError(401, "an API key is needed, as \"Authorization: Bearer KEY\"", {},
                   "invalid_api_key");
  if (route.access == Route::Access::work && draining_)
    throw ApiError(503, "the server is shutting down");
  if (request.method == "POST" && !is_json(request.header("Content-Type")))
    throw ApiError(415, "the Content-Type must be application/json");
  if (request.method == "POST" && !request.header("Content-Encoding").empty())
    throw ApiError(415, "an encoded body is not understood");
}

void Router::allow_origin(Exchange& exchange) const {
  const std::string_view origin = exchange.request.header("Origin");
  if (origin.empty() || options_.cors_origins.empty()) return;
  const auto& allowed = options_.cors_origins;
  if (std::none_of(allowed.begin(), allowed.end(),
                   [&](const std::string& one) { return one == "*" || one == origin; }))
    return;
  exchange.common_headers.emplace_back("Access-Control-Allow-Origin", std::string(origin));
  exchange.common_headers.emplace_back("Vary", "Origin");
}

/// What a browser asks before a page of another origin may send its request.
bool Router::answer_preflight(Exchange& exchange) const {
  const HttpRequest& request = exchange.request;
  if (request.method != "OPTIONS" || request.header("Access-Control-Request-Method").empty() ||
      exchange.common_headers.empty())
    return false;
  HttpResponse response{.status = 204, .content_type = {}, .body = {}, .headers = {}};
  response.headers = {{"Access-Control-Allow-Methods", "GET, POST"},
                      {"Access-Control-Allow-Headers", "Authorization, Content-Type"},
                      {"Access-Control-Max-Age", "600"}};
  exchange.reply(std::move(response));
  return true;
}

bool Router::admit(Exchange& exchange) {
  allow_origin(exchange);
  if (answer_preflight(exchange)) return false;
  return guarded(exchange, [&] { check(exchange, *find(exchange)); });
}

void Router::handle(Exchange& exchange) {
  guarded(exchange, [&] { find(exchange)->handle(exchange); });
}

void Router::refuse(Exchange& exchange, int status, const char* reason) {
  exchange.reply(error_response(ApiError(status, reason)));
}

}  // namespace octet::serve

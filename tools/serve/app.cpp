#include "tools/serve/app.h"

#include <random>
#include <thread>

#include "tools/serve/api_error.h"
#include "tools/serve/assets.h"
#include "tools/serve/base64.h"
#include "tools/serve/endpoints.h"
#include "tools/serve/metrics.h"

namespace octet::serve {
namespace {

using Access = Route::Access;

/// Everything the page needs is in it, and its script talks to this server only. What else gets
/// into it, such as a model's text, lacks the nonce and can neither run nor load anything.
std::string page_policy(const std::string& nonce) {
  return "default-src 'none'; style-src 'nonce-" + nonce + "'; script-src 'nonce-" + nonce +
         "'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
         "frame-ancestors 'none'";
}

std::string random_nonce() {
  std::random_device device;
  std::string bytes;
  for (int i = 0; i < 16; ++i) bytes += static_cast<char>(device());
  return base64(bytes);
}

void replace_all(std::string& text, std::string_view from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

std::string fingerprint_of(const Model& model) {
  return std::string("octet-") + OCTET_VERSION + '-' + to_string(model.scheme()) + '-' +
         model.instruction_set();
}

void reply_page(Exchange& exchange) {
  const std::string nonce = random_nonce();
  std::string page(page_html);
  replace_all(page, "@NONCE@", nonce);
  exchange.reply({.status = 200,
                  .content_type = "text/html; charset=utf-8",
                  .body = std::move(page),
                  .headers = {{"Content-Security-Policy", page_policy(nonce)},
                              {"Referrer-Policy", "no-referrer"},
                              {"Cache-Control", "no-store"}}});
}

}  // namespace

struct App::Impl {
  Impl(const Model& model, AppOptions options_)
      : options(std::move(options_)),
        engine(model, options.engine),
        service{engine, options.model_name, fingerprint_of(model), unix_time(),
                options.log_content},
        router({options.keys, options.cors_origins},
               [this](const ExchangeRecord& record) { finished(record); }),
        server(options.server, router) {
    // A key keeps out who comes by another name; and beyond loopback there are other names.
    router.check_hosts(server.loopback() && !options.keys.required());
    add_work();
    add_information();
  }

  void finished(const ExchangeRecord& record) {
    requests.add(record);
    write_log(record, options.log_format);
  }

  void post(const char* path, void (*endpoint)(Service&, Exchange&)) {
    router.add({"POST", path, Access::work,
                [this, endpoint](Exchange& exchange) { endpoint(service, exchange); }});
  }

  void add_work() {
    post("/v1/chat/completions", chat_completions);
    post("/v1/completions", completions);
    post("/v1/embeddings", embeddings);
    post("/tokenize", tokenize);
    post("/detokenize", detokenize);
  }

  void add_information() {
    router.add({"GET", "/v1/models", Access::with_key,
                [this](Exchange& exchange) { list_models(service, exchange); }});
    router.add({"GET", "/v1/models/*", Access::with_key,
                [this](Exchange& exchange) { get_model(service, exchange); }});
    router.add({"GET", "/metrics", Access::with_key, [this](Exchange& exchange) {
                  exchange.reply({200,
                                  "text/plain; version=0.0.4",
                                  metrics_text(engine.stats(), server.connections(), requests),
                                  {}});
                }});
    router.add({"GET", "/health", Access::open, [](Exchange& exchange) {
                  reply_json(exchange, {{"status", "ok"}});
                }});
    router.add({"GET", "/ready", Access::open, [this](Exchange& exchange) {
                  if (router.draining()) throw ApiError(503, "the server is shutting down");
                  reply_json(exchange, {{"status", "ready"}});
                }});
    router.add({"GET", "/openapi.json", Access::open, [](Exchange& exchange) {
                  exchange.reply({200, "application/json", std::string(openapi_json), {}});
                }});
    router.add({"GET", "/", Access::open, reply_page});
  }

  const AppOptions options;
  Engine engine;
  Service service;
  RequestCounts requests;
  Router router;
  Server server;  // first to end: its threads use all of the above
};

App::App(const Model& model, AppOptions options)
    : impl_(std::make_unique<Impl>(model, std::move(options))) {}
App::~App() = default;

void App::start() {
  impl_->server.start();
}

void App::stop(std::chrono::duration<double> patience, FunctionRef<bool()> hurry) {
  impl_->router.drain();
  const Clock::time_point start = Clock::now();
  const auto wait_until = [&](auto over) {
    while (impl_->server.connections().serving > 0 && !over())
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  };
  wait_until([&] { return hurry() || Clock::now() - start > patience; });
  // The rest is told that it ends, if it listens.
  impl_->service.shutdown.cancel();
  impl_->server.stop_accepting();
  const Clock::time_point last_call = Clock::now();
  wait_until([&] { return Clock::now() - last_call > std::chrono::seconds(2); });
}

int App::port() const {
  return impl_->server.port();
}

bool App::loopback() const {
  return impl_->server.loopback();
}

}  // namespace octet::serve

#pragma once
#include <octet/engine.h>
#include <octet/function_ref.h>

#include <chrono>
#include <memory>
#include <string>

#include "tools/serve/request_log.h"
#include "tools/serve/router.h"
#include "tools/serve/service.h"

namespace octet::serve {

struct AppOptions {
  ServerOptions server;
  EngineOptions engine;
  std::string model_name;
  ApiKeys keys;
  std::vector<std::string> cors_origins;
  LogFormat log_format = LogFormat::text;
  bool log_content = false;
};

/// A model behind HTTP: engine, endpoints and server together.
class App {
 public:
  /// Listens, and answers from start() on. Errors: InvalidArgument, Io, OutOfMemory.
  App(const Model& model, AppOptions options);
  ~App();

  void start();
  /// Refuses new work, and waits until what runs has ended, for at most so long or until
  /// `hurry()` is true; then ends the rest.
  void stop(std::chrono::duration<double> patience, FunctionRef<bool()> hurry);

  int port() const;
  bool loopback() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet::serve

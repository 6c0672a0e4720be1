#pragma once
#include <octet/cancel.h>
#include <octet/engine.h>

#include <cstdint>
#include <semaphore>
#include <string>

#include "tools/serve/json.h"

namespace octet::serve {

/// What the endpoints work on. All of it may be used from any thread.
struct Service {
  Engine& engine;
  std::string model_name;
  std::string fingerprint;  ///< of everything that results depend on, besides the request
  int64_t created = 0;      ///< when the model was loaded, Unix time
  bool log_content = false;
  CancelToken shutdown = CancelToken::make();  ///< ends all work
  /// One embedding at a time: each takes turns with the engine, and many would leave it few.
  std::binary_semaphore embedding{1};

  const Model& model() const { return engine.model(); }
  /// Errors: ApiError 404 for the name of another model. No name means this one.
  void check_model(const std::string& name) const;
};

int64_t unix_time();
/// An id such as chatcmpl-8f3c... for a response.
std::string response_id(const char* prefix, const std::string& exchange_id);

}  // namespace octet::serve

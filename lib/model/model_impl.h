#pragma once
#include <octet/model.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "lib/core/counted.h"
#include "lib/core/thread_pool.h"
#include "lib/model/backend.h"
#include "lib/model/tensor_store.h"
#include "lib/model/weights.h"
#include "lib/text/chat_template.h"

namespace octet {

/// What comes with a model's weights.
struct ModelText {
  std::optional<Tokenizer> tokenizer;
  std::string chat_template;
  std::string bos_token;
  std::string eos_token;
};

struct ModelImpl : Counted {
  ModelConfig config;
  Schemes schemes = Scheme::w8a8;
  KvCacheType kv_cache;
  ModelText text;
  std::once_flag template_parsed;
  std::optional<ChatTemplate> chat_template;  ///< parsed when it is first used
  std::unique_ptr<TensorStore> store;         ///< null once a device has the weights
  Weights weights;                            ///< where the backend has them
  int64_t max_rows;
  std::string device_note;
  std::unique_ptr<ThreadPool> pool;  ///< of the CPU
  std::unique_ptr<Backend> backend;
  std::mutex step;  ///< held during a step: the backend has one workspace
};

/// The threads to use for ModelOptions::threads. Errors: InvalidArgument.
int thread_count(int asked);

/// Puts a model together on the device that the options ask for.
/// Errors: Device; OutOfMemory; InvalidArgument; InvalidFile for a tensor that is missing or wrong.
Model make_model(const ModelConfig& config, const Schemes& schemes, const RotationSizes& rotation,
                 const TwoPlanes& two_planes, ModelText text, std::unique_ptr<TensorStore> store,
                 const ModelOptions& options, Progress progress);

}  // namespace octet

#pragma once
#include <octet/model.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "lib/core/counted.h"
#include "lib/core/thread_pool.h"
#include "lib/core/turn.h"
#include "lib/model/backend.h"
#include "lib/model/tensor_store.h"
#include "lib/model/weights.h"
#include "lib/text/chat_template.h"
#include "lib/text/token_trie.h"

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
  RotationSizes rotation;
  KvCacheType kv_cache;
  ModelText text;
  std::once_flag template_parsed;
  std::optional<ChatTemplate> chat_template;  ///< parsed when it is first used
  std::unique_ptr<TensorStore> store;         ///< once a device has the weights, what adapters need
  Weights weights;                            ///< where the backend has them
  int64_t max_rows;
  std::string device_note;
  std::unique_ptr<ThreadPool> pool;  ///< of the host
  std::unique_ptr<Backend> backend;
  std::unique_ptr<KvPool> kv_pool;              ///< of all sessions and engines
  std::optional<uint64_t> weights_fingerprint;  ///< known beforehand where a device has the weights
  /// The ids that must not be drawn, as they have no text: padding rows of the embedding. None if
  /// the model has no tokenizer.
  std::vector<int32_t> textless;
  std::once_flag trie_made;
  std::shared_ptr<const TokenTrie> trie;
  TurnMutex step;  ///< held during a step: the backend has one workspace
};

/// The vocabulary as a tree, without the tags around reasoning; made when it is first asked for.
/// Errors: as TokenTrie.
const std::shared_ptr<const TokenTrie>& token_trie(ModelImpl& model);

/// Tells models apart: of the config, the scheme, and a sample of each matrix. For an int8 KV cache
/// also of the instruction set, in whose form keys are kept.
uint64_t fingerprint(ModelImpl& model);
/// The part of it that needs weights in the host's memory.
uint64_t weights_fingerprint(const ModelConfig& config, const Weights& weights);

/// The threads to use for ModelOptions::threads. Errors: InvalidArgument.
int thread_count(int asked);

/// The options' executor, or threads. Errors: InvalidArgument, OutOfMemory.
std::unique_ptr<ThreadPool> make_pool(const ModelOptions& options);

/// Puts a model together on the device that the options ask for.
/// Errors: Device; OutOfMemory; InvalidArgument; InvalidFile for a tensor that is missing or wrong.
Model make_model(const ModelConfig& config, const Schemes& schemes, const RotationSizes& rotation,
                 const TwoPlanes& two_planes, ModelText text, std::unique_ptr<TensorStore> store,
                 const ModelOptions& options, Progress progress);

}  // namespace octet

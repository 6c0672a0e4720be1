#pragma once
#include <memory>
#include <span>

#include "lib/core/thread_pool.h"
#include "lib/model/backend.h"
#include "lib/model/kv_cache.h"
#include "lib/model/kv_pool.h"
#include "lib/model/rope.h"

namespace octet {

/// Runs single layers, or a head, of a model over sequences whose residual streams the caller
/// keeps. Float matrices go through OpenBLAS, int8 ones through the kernels.
class LayerRunner {
 public:
  /// config: the model's; without a head its vocabulary may be 1. max_rows: of a sequence.
  LayerRunner(ModelConfig config, int64_t max_rows, ThreadPool& pool);

  Backend& backend() { return *backend_; }
  /// Of a model of one layer.
  const ModelConfig& config() const { return config_; }

  /// Begins a step of one sequence whose residual stream is `hidden` (null: not set). Valid until
  /// the next start(); ids and logit_rows are not copied.
  const Batch& start(std::span<const int32_t> ids, const float* hidden,
                     std::span<const int64_t> logit_rows = {});

 private:
  ModelConfig config_;
  std::unique_ptr<Backend> backend_;
  KvPool pool_of_cache_;
  KvReservation reservation_;
  KvCache cache_;
  Rope rope_;
  Chunk chunk_{};
  Batch batch_{};
};

}  // namespace octet

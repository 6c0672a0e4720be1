#include "lib/convert/layer_runner.h"

#include <algorithm>

#include "lib/backends/cpu/cpu_backend.h"
#include "lib/core/cpu.h"

namespace octet {
namespace {

ModelConfig one_layer(ModelConfig config) {
  config.num_layers = 1;
  return config;
}

}  // namespace

LayerRunner::LayerRunner(ModelConfig config, int64_t max_rows, ThreadPool& pool)
    : config_(one_layer(std::move(config))),
      backend_(
          std::make_unique<CpuBackend>(config_, Scheme::f32, max_rows, active_kernels(), pool)),
      pool_of_cache_(config_, KvCacheType::f32),
      reservation_(pool_of_cache_, kv_blocks(max_rows)),
      cache_(pool_of_cache_, max_rows),
      rope_(make_rope(config_, max_rows)) {
  cache_.extend(0, max_rows);
}

const Batch& LayerRunner::start(std::span<const int32_t> ids, const float* hidden,
                                std::span<const int64_t> logit_rows) {
  const auto rows = static_cast<int64_t>(ids.size());
  chunk_ = {&cache_, &rope_, 0, rows, 0};
  batch_ = {ids, {&chunk_, 1}, logit_rows};
  backend_->start(batch_);
  if (hidden) std::copy_n(hidden, rows * config_.hidden_size, backend_->workspace().hidden);
  return batch_;
}

}  // namespace octet

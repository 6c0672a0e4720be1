// Norms and attention with the CPU's bits (ModelOptions::exact).
#include <algorithm>
#include <bit>

#include "lib/backends/cuda/cuda_backend.h"
#include "lib/core/error.h"
#include "lib/model/rope.h"

namespace octet::cuda {
namespace {

/// Positions that a row may see, at most.
constexpr int64_t most_positions = 1 << 20;

/// Words of partial results of a row that sees so many.
int64_t row_words(const ModelConfig& config, int64_t spans) {
  return kernels::cuda::exact_row_words(config.num_kv_heads, config.head_dim, spans);
}

}  // namespace

/// Errors: Unsupported where the CPU's bits are not to be had.
void CudaBackend::allocate_exact() {
  require(!weights_->any_f16(), ErrorCode::Unsupported,
          "device cuda: exact is for models whose matrices are all int8; this one has fp16 ones");
  // RotatedHead adds up a head's squares in the CPU's order only then.
  require(!config_.qk_norm || std::has_single_bit(static_cast<uint64_t>(config_.head_dim)),
          ErrorCode::Unsupported, "device cuda: exact norms heads of ", config_.head_dim,
          " dimensions; a power of two expected");
  constexpr int64_t enough = 4 << 20;  // for some rows at a time
  const int64_t positions = std::min(context_limit(config_), most_positions);
  exact_words_ = std::max(row_words(config_, kernels::cuda::launched_spans(positions)), enough);
  exact_partial_ = DeviceMemory(exact_words_ * 4, "the buffers of a step");
  exact_normed_ = DeviceMemory(max_rows_ * hidden_stride_ * 4, "the buffers of a step");
}

/// Of the input rows.
const float* CudaBackend::norm_exactly(const float* weight, const int32_t* row_list) {
  float* const out = exact_normed_.as<float>();
  kernels::cuda::norm_exact(
      {input_rows_, config_.hidden_size, workspace_.hidden, weight,
       static_cast<float>(config_.rms_norm_eps), row_list, out, hidden_stride_},
      queue_);
  return out;
}

void CudaBackend::attend_exactly(int64_t layer, float scale) {
  const StepView& step = step_.view();
  kernels::cuda::ExactAttention task{};
  task.heads = heads(layer);
  task.step = step.rows;
  task.qkv = head_rows();
  if (int8_cache()) {
    task.queries = quantized_.as<int8_t>();
    task.query_scale = scales_.as<float>();
  }
  task.scale = scale;
  task.out = workspace_.attention;
  task.out_stride = attention_stride_;
  if (step_.tiles() > 0) {
    task.count = step_.tiles();
    task.tile = step.tiles;
    kernels::cuda::attention_exact(task, queue_);
    task.tile = nullptr;
  }
  task.spans = step_.launched_splits();
  task.partial = exact_partial_.as<float>();
  const int64_t most = exact_words_ / row_words(config_, std::max<int64_t>(1, task.spans));
  require(most > 0, ErrorCode::Unsupported, "device cuda: exact attention to at most ",
          most_positions, " tokens");
  for (int64_t first = 0; first < step_.split_rows(); first += most) {
    task.count = std::min(most, step_.split_rows() - first);
    task.row_list = step.split_rows + first;
    kernels::cuda::attention_exact(task, queue_);
  }
}

}  // namespace octet::cuda

// The first operations of a layer that are put off, to become one kernel (kernels::cuda::RowChain).
#include "lib/backends/cuda/cuda_backend.h"

namespace octet::cuda {

/// Whether it is q, k and v of a row that is alone in its sequence.
bool CudaBackend::begins_chain(const kernels::cuda::Linear& linear) const {
  return linear.out == workspace_.q && linear.n_tiles * 16 == qkv_stride_ && step_.single_rows() &&
         step_.split_rows() == linear.rows && !int8_cache();
}

/// Whether a multiplication is put off, as part of a chain; if not, none is any more.
bool CudaBackend::link(const kernels::cuda::Linear& linear,
                       const kernels::cuda::RowSource& source) {
  const bool can = !exact_ && adapted_rows_.empty() &&
                   kernels::cuda::can_chain(linear.rows, linear.k, linear.planes, linear.grouped,
                                            queue_.architecture);
  if (can && begins_chain(linear)) {
    chain_.emplace();
    chain_->qkv = {linear, source, awaited_.qkv};
    return true;
  }
  if (!chain_) return false;
  if (!can || !kernels::cuda::can_chain_both(linear.k, chain_->qkv.linear.k)) {
    launch_chain();
    return false;
  }
  kernels::cuda::ChainedLinear next{linear, source, nullptr,
                                    awaited_.readers + chain_->num_following};
  if (chain_->num_following == 0)
    next.source.values = chain_->attention.out = awaited_.attention;
  else
    next.source.values = chain_->following[0].copy = awaited_.hidden;
  chain_->following[chain_->num_following++] = next;
  if (chain_->num_following == 2) launch_chain();
  return true;
}

void CudaBackend::attend_in_chain(kernels::cuda::SplitAttention task) {
  const float* const q = task.qkv.q;
  task.qkv.k = awaited_.qkv + (task.qkv.k - q);
  task.qkv.v = awaited_.qkv + (task.qkv.v - q);
  task.qkv.q = awaited_.qkv;
  task.rows = 1;
  chain_->attention = task;
}

void CudaBackend::launch_chain() {
  if (chain_) kernels::cuda::row_chain(*chain_, queue_);
  chain_.reset();
}

}  // namespace octet::cuda

#include "lib/backends/cuda/cuda_top.h"

#include "lib/model/backend.h"

namespace octet::cuda {
namespace {

using kernels::cuda::Candidate;
using kernels::cuda::max_top;
using kernels::cuda::top_blocks;

constexpr int64_t partial_words = logit_group * max_top * top_blocks;
constexpr int64_t weights_at = 64, best_at = weights_at + logit_group * int64_t{sizeof(float)},
                  result_bytes = best_at + logit_group * max_top * int64_t{sizeof(Candidate)};

}  // namespace

TopMemory::TopMemory(cudaStream_t stream)
    : partial_(partial_words * int64_t{sizeof(uint64_t)} +
                   logit_group * top_blocks * int64_t{sizeof(float)},
               "the buffers of a step"),
      best_(sizeof(uint64_t), "the buffers of a step"),
      results_(2 * result_bytes) {
  check(cudaMemsetAsync(best(), 0, sizeof(uint64_t), stream), "cudaMemset");
}

kernels::cuda::TopResults TopMemory::results(int turn) const {
  std::byte* const of_turn = results_.as<std::byte>() + turn * result_bytes;
  return {reinterpret_cast<Candidate*>(of_turn + best_at), reinterpret_cast<int32_t*>(of_turn),
          reinterpret_cast<float*>(of_turn + weights_at)};
}

float* TopMemory::partial_weights() const {
  return reinterpret_cast<float*>(partial() + partial_words);
}

}  // namespace octet::cuda

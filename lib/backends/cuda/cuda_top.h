#pragma once
// The memory of kernels::cuda::Top.
#include "kernels/cuda/kernels.h"
#include "lib/backends/cuda/cuda_memory.h"

namespace octet::cuda {

/// Of up to logit_group rows.
class TopMemory {
 public:
  /// Zeroes best() in the stream. Errors: OutOfMemory.
  explicit TopMemory(cudaStream_t stream);
  /// Where the host gets the results of every other step.
  kernels::cuda::TopResults results(int turn) const;
  uint64_t* partial() const { return partial_.as<uint64_t>(); }
  float* partial_weights() const;
  uint64_t* best() const { return best_.as<uint64_t>(); }

 private:
  DeviceMemory partial_, best_;
  PinnedMemory results_;
};

}  // namespace octet::cuda

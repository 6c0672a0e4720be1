#pragma once
// What the tests on a GPU share.
#include <doctest/doctest.h>

#include <vector>

#include "kernels/cuda/kernels.h"
#include "lib/backends/cuda/cuda_devices.h"
#include "lib/backends/cuda/cuda_memory.h"

namespace octet::testing {

/// Whether there is a GPU; says so where there is none.
inline bool has_cuda() {
  const std::string reason = why_no_cuda(0);
  if (!reason.empty()) MESSAGE("not run: no CUDA device (", reason, ")");
  return reason.empty();
}

inline kernels::cuda::Queue default_queue() {
  int shared_bytes = 0;
  cuda::check(cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0),
              "cudaDeviceGetAttribute");
  return {nullptr, 4,     kernels::cuda::running_architecture(), shared_bytes,
          false,   false, kernels::cuda::running_warpgroups()};
}

/// A copy of values in the device's memory.
template <class T>
class OnGpu {
 public:
  explicit OnGpu(const std::vector<T>& values)
      : count_(values.size()), memory_(static_cast<int64_t>(values.size() * sizeof(T)), "a test") {
    cuda::check(cudaMemcpyAsync(memory_.as<T>(), values.data(), count_ * sizeof(T),
                                cudaMemcpyHostToDevice, nullptr),
                "copy");
  }
  explicit OnGpu(int64_t count, T value = T{})
      : OnGpu(std::vector<T>(static_cast<size_t>(count), value)) {}
  T* data() const { return memory_.template as<T>(); }
  std::vector<T> host() const {
    std::vector<T> values(count_);
    cuda::check(cudaMemcpyAsync(values.data(), memory_.template as<T>(), count_ * sizeof(T),
                                cudaMemcpyDeviceToHost, nullptr),
                "copy");
    cuda::check(cudaStreamSynchronize(nullptr), "kernel");
    return values;
  }

 private:
  size_t count_;
  cuda::DeviceMemory memory_;
};

}  // namespace octet::testing

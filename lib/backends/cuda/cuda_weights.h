#pragma once
// A model's weights in the memory and in the order of the device.
#include <octet/model.h>

#include <span>
#include <vector>

#include "kernels/cuda/kernels.h"
#include "lib/backends/cuda/cuda_memory.h"
#include "lib/model/weights.h"

namespace octet::cuda {

/// Matrices that read the same activations lie together, so that one multiplication does for all:
/// q, k and v one after another; gate and up tile by tile in turns.
class CudaWeights {
 public:
  /// Errors: OutOfMemory, Cancelled.
  CudaWeights(const ModelConfig& config, const Weights& host, Progress progress,
              const kernels::cuda::Queue& queue);

  /// The same weights, as pointers to the device's memory. Matrix::sum is null: the tensor cores
  /// multiply signed values.
  const Weights& view() const { return view_; }

 private:
  /// A matrix's place among those it lies with: its tiles of 16 rows are first, first + step, ...
  struct Part {
    const Linear* from;
    Linear* to;
    int64_t first, step;
  };
  void upload(std::span<const Part> parts);
  void upload_tiles(const Part& part, std::byte* weight);
  void upload(const float* from, int64_t count, const float*& to);
  void upload_layer(const LayerWeights& from, LayerWeights& to, const ModelConfig& config);
  void upload_matrix(const Matrix& from, Matrix& to);
  void* allocate(int64_t bytes);
  void* send(const void* from, int64_t bytes);
  void advance(int64_t bytes);

  const kernels::cuda::Queue& queue_;
  Progress progress_;
  int64_t done_ = 0, total_ = 0;
  DeviceMemory staging_;  // a matrix as the host has it
  std::vector<DeviceMemory> memory_;
  Weights view_;
};

}  // namespace octet::cuda

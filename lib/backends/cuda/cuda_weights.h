#pragma once
// A model's weights in the memory and in the order of the device.
#include <octet/model.h>

#include <deque>
#include <span>
#include <vector>

#include "kernels/cuda/kernels.h"
#include "lib/backends/cuda/cuda_memory.h"
#include "lib/model/weights.h"

namespace octet::cuda {

/// What multiplications of the same activations read: one matrix of all their channels.
struct CudaMatrix {
  int64_t k = 0, n_tiles = 0;
  bool grouped = false;  ///< w8a8-g128
  bool f16 = false;      ///< kernels::cuda::LinearF16; without scales
  const void *data = nullptr, *scale = nullptr;
  const float* bias = nullptr;
  /// Of the second plane of inputs, where a channel takes two (kernels::cuda::Linear).
  const void* rest_scale = nullptr;
  int64_t rest_first_tile = 0, rest_end_tile = 0;
};

/// Matrices that read the same activations lie together, so that one multiplication does for all:
/// q, k and v one after another, as far as they are of one scheme; gate and up channel by channel
/// in turns, if they are of one.
class CudaWeights {
 public:
  /// Errors: OutOfMemory, Cancelled.
  CudaWeights(const ModelConfig& config, const Weights& host, Progress progress,
              const kernels::cuda::Queue& queue);

  /// The weights with the norms in the device's memory. A Matrix's data is here a handle for of().
  const Weights& view() const { return view_; }
  const CudaMatrix& of(const Matrix& matrix) const {
    return *static_cast<const CudaMatrix*>(matrix.data);
  }
  bool any_f16() const { return any_f16_; }
  /// Whether a layer has gate and up as two matrices.
  bool gate_up_apart() const { return gate_up_apart_; }

 private:
  /// A matrix's place among those it lies with: its rows are channels first, first + step, ...
  struct Part {
    const Linear* from;
    Matrix* to;
    int64_t first, step;
  };
  void upload(std::span<const Part> parts);
  void upload_int8(std::span<const Part> parts, int64_t channels, CudaMatrix& matrix);
  void upload_f16(std::span<const Part> parts, int64_t channels, CudaMatrix& matrix);
  void upload_weights(const Part& part, std::byte* weight);
  void upload_biases(std::span<const Part> parts, int64_t channels, CudaMatrix& matrix);
  void upload_runs(std::span<const Linear* const> from, std::span<Matrix* const> to);
  void upload(const float* from, int64_t count, const float*& to);
  void upload_layer(const LayerWeights& from, LayerWeights& to, const ModelConfig& config);
  void upload_matrix(const Matrix& from, Matrix& to);
  void* allocate(int64_t bytes);
  std::byte* allocate_weights(int64_t bytes);
  void* send(const void* from, int64_t bytes);
  void advance(int64_t bytes);

  const kernels::cuda::Queue& queue_;
  Progress progress_;
  int64_t done_ = 0, total_ = 0;
  bool any_f16_ = false;
  bool gate_up_apart_ = false;
  DeviceMemory staging_;  // a matrix as the host has it
  std::vector<DeviceMemory> memory_;
  std::deque<CudaMatrix> matrices_;  // stay where they are
  Weights view_;
};

}  // namespace octet::cuda

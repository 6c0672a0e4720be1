#pragma once
// An adapter's matrices in a device's memory.
#include <optional>
#include <vector>

#include "kernels/cuda/kernels.h"
#include "lib/backends/cuda/cuda_memory.h"
#include "lib/model/adapter_impl.h"
#include "lib/model/weights.h"

namespace octet::cuda {

/// What is added to one linear: out += up (scale * (down x)).
struct CudaAdaptedLinear {
  int64_t n, k, rank;
  const std::byte* down;  ///< kernels::cuda::LinearF16, with padded_n(rank) channels
  const float* scale;     ///< [padded_n(rank)]
  const uint16_t* up;     ///< kernels::cuda::AddLowRank
};

class CudaAdapter : public DeviceAdapter {
 public:
  /// weights: of the model that the adapter is for. Errors: OutOfMemory.
  CudaAdapter(const AdapterImpl& adapter, const Weights& weights);

  /// Null if this linear is not changed.
  const CudaAdaptedLinear* find(int64_t linear) const;
  int64_t max_rank() const { return max_rank_; }

 private:
  /// Where the parts of a linear lie, in bytes.
  struct Parts {
    Parts(const AdaptedLinear& linear, const Matrix& matrix, int64_t begin);
    int64_t down, up, scale, end;
  };

  std::vector<std::optional<CudaAdaptedLinear>> linears_;  // by Matrix::linear
  int64_t max_rank_ = 0;
  DeviceMemory memory_;
};

}  // namespace octet::cuda

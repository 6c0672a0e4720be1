// Adapters of the CUDA backend: out += up (scale * (down x)) for the rows of sequences that have
// one.
#include <algorithm>

#include "lib/backends/cuda/cuda_adapter.h"
#include "lib/backends/cuda/cuda_backend.h"
#include "lib/core/error.h"

namespace octet::cuda {
namespace {

const CudaAdaptedLinear* find(const AdapterImpl* adapter, const Matrix& matrix) {
  return static_cast<const CudaAdapter&>(*adapter->on_device).find(matrix.linear);
}

}  // namespace

/// What steps with adapters need is taken here, so that these take nothing.
std::unique_ptr<DeviceAdapter> CudaBackend::prepare(const AdapterImpl& adapter) {
  require(!exact_, ErrorCode::Unsupported, "device cuda: adapters do not go with exact");
  const OnDevice device(index_);
  auto prepared = std::make_unique<CudaAdapter>(adapter, weights());
  allocate_halves();
  allocate_gate_up();
  const int64_t stride = kernels::padded_n(prepared->max_rank());
  if (stride > projected_stride_) {
    projected_ = DeviceMemory(max_rows_ * stride * 4, "the buffers of a step");
    projected_stride_ = stride;
  }
  return prepared;
}

bool CudaBackend::is_adapted(const Matrix& matrix) const {
  return std::any_of(adapted_rows_.begin(), adapted_rows_.end(),
                     [&](const AdaptedRows& rows) { return find(rows.adapter, matrix); });
}

/// Adds what the rows' adapters change of a linear of the input that was put off. step: from
/// channel to channel of `out`.
void CudaBackend::adapt(const Matrix& matrix, float* out, int64_t out_stride, int64_t step) {
  for (const AdaptedRows& rows : adapted_rows_) {
    const CudaAdaptedLinear* linear = find(rows.adapter, matrix);
    if (!linear) continue;
    kernels::cuda::HalfRows x = half_rows(linear->k);
    x.values += rows.first * x.stride;
    x.scale += rows.first;
    float* const projected = projected_.as<float>();
    kernels::cuda::linear_f16(
        {rows.count, linear->k, kernels::padded_n(linear->rank) / kernels::tile_n, linear->down,
         nullptr, x, projected, projected_stride_, kernels::cuda::Output::assign, linear->scale},
        queue_);
    kernels::cuda::add_low_rank({rows.count, linear->n, linear->rank, projected, projected_stride_,
                                 linear->up, out + rows.first * out_stride, out_stride, step},
                                queue_);
  }
}

}  // namespace octet::cuda

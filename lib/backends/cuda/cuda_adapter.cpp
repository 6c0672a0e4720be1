#include "lib/backends/cuda/cuda_adapter.h"

#include <algorithm>
#include <cstring>

#include "lib/model/linear_kinds.h"

namespace octet::cuda {
namespace {

using kernels::padded_n;
using kernels::project_rows;
using kernels::tile_n;
using kernels::cuda::half_stride;

/// The model's linears by Matrix::linear.
std::vector<const Matrix*> linears_of(const Weights& weights) {
  std::vector<const Matrix*> all;
  for (const LayerWeights& layer : weights.layers)
    for (int kind = 0; kind < num_layer_kinds; ++kind)
      all.push_back(&linear_of(layer, static_cast<LinearKind>(kind)).weight);
  if (weights.head.linear >= 0) all.push_back(&weights.head);
  return all;
}

/// Rows of down out of its tiles, padded, where `to` is zero.
void copy_down(const AdaptedLinear& from, int64_t k, uint16_t* to) {
  for (int64_t j = 0; j < from.rank; ++j) {
    const uint16_t* const rows = from.down + j / project_rows * project_rows * padded_n(k);
    for (int64_t i = 0; i < k; i += tile_n)
      std::copy_n(rows + i * project_rows + j % project_rows * tile_n, std::min(tile_n, k - i),
                  to + j * half_stride(k) + i);
  }
}

}  // namespace

CudaAdapter::Parts::Parts(const AdaptedLinear& linear, const Matrix& matrix, int64_t begin)
    : down(begin),
      up(down + padded_n(linear.rank) * half_stride(matrix.k) * 2),
      scale(up + padded_n(matrix.n) * linear.rank * 2),
      end(scale + padded_n(linear.rank) * 4) {}

CudaAdapter::CudaAdapter(const AdapterImpl& adapter, const Weights& weights) {
  const std::vector<const Matrix*> matrices = linears_of(weights);
  linears_.resize(adapter.linears.size());
  std::vector<Parts> parts;
  int64_t end = 0;
  for (size_t i = 0; i < matrices.size(); ++i)
    if (adapter.linears[i]) end = parts.emplace_back(*adapter.linears[i], *matrices[i], end).end;
  memory_ = DeviceMemory(std::max<int64_t>(end, 1), "an adapter");
  std::vector<std::byte> host(static_cast<size_t>(end));
  auto part = parts.begin();
  for (size_t i = 0; i < matrices.size(); ++i) {
    if (!adapter.linears[i]) continue;
    const AdaptedLinear& from = *adapter.linears[i];
    const Matrix& matrix = *matrices[i];
    copy_down(from, matrix.k, reinterpret_cast<uint16_t*>(host.data() + part->down));
    std::memcpy(host.data() + part->up, from.up, static_cast<size_t>(part->scale - part->up));
    std::memcpy(host.data() + part->scale, from.scale.data(), from.scale.size() * sizeof(float));
    auto* const memory = memory_.as<std::byte>();
    linears_[i] = {matrix.n,
                   matrix.k,
                   from.rank,
                   memory + part->down,
                   reinterpret_cast<const float*>(memory + part->scale),
                   reinterpret_cast<const uint16_t*>(memory + part->up)};
    max_rank_ = std::max(max_rank_, from.rank);
    ++part;
  }
  check(cudaMemcpyAsync(memory_.as<void>(), host.data(), host.size(), cudaMemcpyHostToDevice,
                        nullptr),
        "loading an adapter");
  check(cudaStreamSynchronize(nullptr), "loading an adapter");
}

const CudaAdaptedLinear* CudaAdapter::find(int64_t linear) const {
  if (linear < 0) return nullptr;
  const auto& found = linears_[static_cast<size_t>(linear)];
  return found ? &*found : nullptr;
}

}  // namespace octet::cuda

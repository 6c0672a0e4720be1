#include "lib/model/tensor_store.h"

#include "kernels/types.h"
#include "lib/io/safetensors.h"

namespace octet {
namespace {

void add_matrix(const std::string& name, int64_t n, int64_t k, Scheme scheme,
                std::vector<StoredTensor>& plan) {
  const auto u = [](int64_t value) { return static_cast<uint64_t>(value); };
  if (scheme == Scheme::f32 || scheme == Scheme::f16) {
    plan.push_back({name, scheme == Scheme::f32 ? "F32" : "F16", {u(n), u(k)}});
    return;
  }
  const uint64_t rows = u(kernels::padded_n(n)), tiles = rows / u(kernels::tile_n);
  plan.push_back({name, "I8", {tiles, u(kernels::padded_k(k) / kernels::tile_k), 16, 4}});
  if (scheme == Scheme::w8a8) {
    plan.push_back({scale_name(name), "F32", {rows}});
    plan.push_back({sum_name(name), "I32", {rows}});
  } else {
    plan.push_back({scale_name(name), "BF16", {tiles, u(kernels::num_groups(k)), 16}});
    plan.push_back({sum_name(name), "I16", {tiles, u(kernels::num_groups(k)), 16}});
  }
}

}  // namespace

uint64_t StoredTensor::bytes() const {
  uint64_t count = safetensors_element_bytes(dtype);
  for (uint64_t extent : shape) count *= extent;
  return count;
}

std::vector<StoredTensor> stored_tensors(std::span<const ModelTensor> tensors,
                                         const Schemes& schemes) {
  std::vector<StoredTensor> plan;
  for (const ModelTensor& tensor : tensors) {
    if (tensor.shape.size() == 2)
      add_matrix(tensor.name, tensor.shape[0], tensor.shape[1], schemes.of(tensor.name), plan);
    else
      plan.push_back({tensor.name, "F32", {static_cast<uint64_t>(tensor.shape[0])}});
  }
  return plan;
}

}  // namespace octet

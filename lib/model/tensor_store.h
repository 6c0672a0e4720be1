#pragma once
// Where a model's tensors lie: in a mapped file, or in memory.
#include <octet/model.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/io/checkpoint.h"
#include "lib/model/schemes.h"

namespace octet {

/// Name, type and shape of one tensor in octet's own format (docs/architecture.md).
struct StoredTensor {
  std::string name;
  std::string dtype;  ///< a safetensors dtype
  std::vector<uint64_t> shape;

  uint64_t bytes() const;
};

/// How tensors of a checkpoint are stored in these schemes, in the same order.
/// Each matrix "X.weight" [n, k] becomes
///   f32, f16:   X.weight [n, k]
///   w8a8:       X.weight I8 [n/16, k/4, 16, 4] (n, k rounded up), X.weight_scale F32 and
///               X.weight_sum I32 [n rounded up to 16]
///   w8a8-g128:  X.weight as w8a8, X.weight_scale BF16 and X.weight_sum I16 [n/16, groups, 16]
/// Norm weights and biases are F32.
std::vector<StoredTensor> stored_tensors(std::span<const ModelTensor> tensors,
                                         const Schemes& schemes);

/// The names of a stored matrix's parts.
inline std::string scale_name(std::string_view weight) {
  return std::string(weight) + "_scale";
}
inline std::string sum_name(std::string_view weight) {
  return std::string(weight) + "_sum";
}

/// Read-only tensors by name. Data lies on 64-byte boundaries and lives as long as the store.
class TensorStore {
 public:
  virtual ~TensorStore() = default;
  virtual bool has(const std::string& name) const = 0;
  /// Errors: InvalidFile naming the tensor if it is missing, or not of this type and shape.
  virtual const std::byte* data(const StoredTensor& tensor) const = 0;
};

/// Takes the tensors of a plan, piece by piece.
class TensorSink {
 public:
  virtual ~TensorSink() = default;
  /// Bytes of tensor `index` of the plan, from `offset` on. Thread-safe.
  virtual void write(size_t index, uint64_t offset, std::span<const std::byte> bytes) = 0;
};

}  // namespace octet

#pragma once
// What the checkpoints of every format share: tensors that lie in mapped files, as they are.
#include <deque>
#include <map>
#include <span>
#include <string>

#include "lib/core/mapped_file.h"
#include "lib/io/checkpoint.h"
#include "lib/io/weight_types.h"

namespace octet {

/// A matrix of weights in a mapped file.
struct MappedTensor {
  const MappedFile* file = nullptr;
  const WeightType* type = nullptr;  ///< null: a type that octet does not read as weights
  std::span<const std::byte> data;
  int64_t rows = 0, cols = 0;
  /// Above 0: the rows are those of a GGUF llama's q or k with this many heads, where a head's
  /// rows i and i + head_dim / 2 lie beside each other.
  int64_t interleaved_heads = 0;
  /// Not null: `data` is int8, and row i stands for its values times value i of this tensor.
  const MappedTensor* scale = nullptr;
};

class MappedCheckpoint : public Checkpoint {
 public:
  void read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override;
  bool is_quantized(std::string_view name) const override;
  void read_quantized_rows(std::string_view name, int64_t begin, int64_t end, int8_t* q,
                           float* scale) const override;

 protected:
  const MappedFile& map(const std::string& path);
  /// Lists a tensor and makes it readable. Errors: InvalidFile if the name is there already.
  void add(const std::string& name, std::string_view type, std::span<const int64_t> shape,
           MappedTensor stored);
  bool has(std::string_view name) const { return stored_.contains(name); }
  /// Says that `weight` [n, k], int8, has its scales in another tensor, [n, 1].
  /// Errors: InvalidFile if one is missing or has another type or shape.
  void add_scale(const std::string& weight, const std::string& scale);

 private:
  /// Errors: InvalidFile if it is missing; Internal for rows out of range.
  const MappedTensor& find_rows(std::string_view name, int64_t begin, int64_t end) const;

  std::deque<MappedFile> files_;
  std::map<std::string, MappedTensor, std::less<>> stored_;
};

}  // namespace octet

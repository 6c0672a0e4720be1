#pragma once
// The GGUF container, versions 2 and 3: metadata and tensor directory of one hostile file.
// Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/io/weight_types.h"

namespace octet {

enum class GgufValueType : uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

/// A value as it lies in the file; its extent has been checked. A scalar is an array of one.
struct GgufValue {
  GgufValueType type;  ///< of the elements
  bool is_array;
  uint64_t count;
  std::span<const std::byte> bytes;  ///< strings: length and text one after another
};

struct GgufTensor {
  std::string name;
  const WeightType* type;
  std::vector<int64_t> shape;       ///< rows first, 1 to 4 extents, none of them 0
  std::span<const std::byte> data;  ///< inside the parsed bytes
};

/// The getters return an empty optional (or vector) where the key is absent.
/// Their errors: InvalidFile naming the key if the value is of another kind.
class Gguf {
 public:
  /// Parses a whole file. `where` names it in errors.
  /// Errors: InvalidFile; Unsupported for another version or a tensor type that octet lacks.
  Gguf(std::span<const std::byte> file, const std::string& where);

  uint32_t version() const { return version_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const std::map<std::string, GgufValue, std::less<>>& metadata() const { return metadata_; }

  bool has(std::string_view key) const { return metadata_.find(key) != metadata_.end(); }
  std::optional<int64_t> integer(std::string_view key) const;  ///< any integer type
  std::optional<double> number(std::string_view key) const;    ///< any integer or float type
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> text(std::string_view key) const;
  std::vector<std::string> texts(std::string_view key) const;
  std::vector<int32_t> integers(std::string_view key) const;  ///< integers that fit
  std::vector<float> numbers(std::string_view key) const;     ///< f32 only

 private:
  const GgufValue* find(std::string_view key, bool is_array) const;

  std::string where_;
  uint32_t version_ = 0;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::vector<GgufTensor> tensors_;
};

}  // namespace octet

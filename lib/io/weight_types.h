#pragma once
// The number formats in which checkpoints store weights, and how each becomes fp32.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace octet {

/// Values are stored in blocks along a row; a row holds whole blocks.
struct WeightType {
  std::string_view name;  ///< as safetensors and GGUF spell it: "BF16", "Q4_K"
  uint32_t gguf_id;       ///< ggml_type
  int64_t block_values;
  int64_t block_bytes;
  /// count: a multiple of block_values. `data` may be unaligned.
  void (*to_f32)(const std::byte* data, int64_t count, float* out);
};

/// Null if octet does not read it.
const WeightType* find_weight_type(std::string_view name);
const WeightType* find_gguf_weight_type(uint32_t gguf_id);

/// "F32, F16, BF16, Q8_0, ...", for errors.
std::string known_weight_types();

}  // namespace octet

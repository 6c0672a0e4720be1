#pragma once
// fp32 values into the types that other programs' files hold.
#include <cstddef>
#include <cstdint>
#include <vector>

namespace octet {

struct Encoding {
  const char* safetensors;  ///< its dtype there; null: none
  uint32_t gguf;            ///< its ggml_type
  int64_t block_values, block_bytes;
  /// count: a multiple of block_values. Returns false for a finite value that the type cannot hold.
  bool (*encode)(const float* values, int64_t count, std::byte* out);

  int64_t bytes(int64_t count) const { return count / block_values * block_bytes; }
};

extern const Encoding encode_f32, encode_f16, encode_bf16, encode_q8_0;

}  // namespace octet

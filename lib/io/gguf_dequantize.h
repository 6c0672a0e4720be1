#pragma once
// GGUF's quantized blocks to fp32. count: values, a multiple of the block (32, or 256 for _k).
// Every value is the exact fp32 result of scale * q (- or + minimum), rounded at each operation.
// Source: ggml's block structures, https://github.com/ggml-org/ggml (src/ggml-common.h).
#include <cstddef>
#include <cstdint>

namespace octet {

void dequantize_q4_0(const std::byte* blocks, int64_t count, float* out);
void dequantize_q4_1(const std::byte* blocks, int64_t count, float* out);
void dequantize_q5_0(const std::byte* blocks, int64_t count, float* out);
void dequantize_q5_1(const std::byte* blocks, int64_t count, float* out);
void dequantize_q8_0(const std::byte* blocks, int64_t count, float* out);
void dequantize_q2_k(const std::byte* blocks, int64_t count, float* out);
void dequantize_q3_k(const std::byte* blocks, int64_t count, float* out);
void dequantize_q4_k(const std::byte* blocks, int64_t count, float* out);
void dequantize_q5_k(const std::byte* blocks, int64_t count, float* out);
void dequantize_q6_k(const std::byte* blocks, int64_t count, float* out);

}  // namespace octet

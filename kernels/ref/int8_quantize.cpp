// The definition of activation quantization: kernels/types.h, written as plain loops.
#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// Quantizes k values that share a scale. False if one is not finite.
bool quantize(const float* x, int64_t k, int8_t* q, float* scale, uint8_t activation_xor) {
  float absmax = 0;
  for (int64_t i = 0; i < k; ++i) {
    const float magnitude = __builtin_fabsf(x[i]);
    if (!__builtin_isfinite(magnitude)) return false;
    if (magnitude > absmax) absmax = magnitude;
  }
  const float inverse = 127.0f / absmax;
  const bool zero = __builtin_isinf(inverse);
  *scale = zero ? 0.0f : absmax / 127.0f;
  for (int64_t i = 0; i < k; ++i) {
    const auto value = zero ? int8_t{0} : static_cast<int8_t>(__builtin_rintf(x[i] * inverse));
    q[i] = static_cast<int8_t>(value ^ activation_xor);
  }
  return true;
}

void pad(const QuantizeRow& row) {
  for (int64_t i = row.k; i < padded_k(row.k); ++i)
    row.q[i] = static_cast<int8_t>(row.activation_xor);
}

}  // namespace

bool quantize_f32_s8_ref(const QuantizeRow& row) {
  pad(row);
  return quantize(row.x, row.k, row.q, row.scale, row.activation_xor);
}

bool quantize_f32_s8_g128_ref(const QuantizeRow& row) {
  pad(row);
  for (int64_t begin = 0; begin < row.k; begin += group_size) {
    const int64_t size = row.k - begin < group_size ? row.k - begin : group_size;
    if (!quantize(row.x + begin, size, row.q + begin, row.scale + begin / group_size,
                  row.activation_xor))
      return false;
  }
  return true;
}

}  // namespace octet::kernels

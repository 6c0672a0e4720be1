// The definition of activation quantization: kernels/types.h, written as plain loops.
#include "kernels/quantize_groups.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// The largest |x|. False if one is not finite.
bool finite_absmax(const float* x, int64_t k, float& absmax) {
  absmax = 0;
  for (int64_t i = 0; i < k; ++i) {
    const float magnitude = __builtin_fabsf(x[i]);
    if (!__builtin_isfinite(magnitude)) return false;
    if (magnitude > absmax) absmax = magnitude;
  }
  return true;
}

/// Quantizes k values that share a scale. False if one is not finite.
bool quantize(const float* x, int64_t k, int8_t* q, float* scale, uint8_t activation_xor) {
  float absmax;
  if (!finite_absmax(x, k, absmax)) return false;
  const QuantizeScale s = quantize_scale(absmax);
  *scale = s.scale;
  for (int64_t i = 0; i < k; ++i)
    q[i] = static_cast<int8_t>(static_cast<int8_t>(__builtin_rintf(x[i] * s.inverse)) ^
                               activation_xor);
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
  return quantize_groups(row, [&](const float* x, int64_t k, int8_t* q, float* scale) {
    return quantize(x, k, q, scale, row.activation_xor);
  });
}

bool quantize_f32_s16_ref(const QuantizeRow16& row) {
  float absmax = 0;
  if (!finite_absmax(row.x, row.k, absmax)) return false;
  const QuantizeScale s = quantize_scale(absmax, kv_s16_levels);
  *row.scale = s.scale;
  for (int64_t i = 0; i < padded_k(row.k); ++i)
    row.q[i] = i < row.k ? static_cast<int16_t>(__builtin_rintf(row.x[i] * s.inverse)) : int16_t{0};
  return true;
}

}  // namespace octet::kernels

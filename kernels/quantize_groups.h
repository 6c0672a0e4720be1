#pragma once
// What the quantize kernels of every instruction set share. All of it has internal linkage: each
// instruction set compiles its own copy.
#include <cstdint>

#include "kernels/types.h"

namespace octet::kernels {
namespace {

/// How values with this largest magnitude, which becomes `levels`, are quantized; both 0 where they
/// count as zero.
struct QuantizeScale {
  float scale;
  float inverse;
};
inline QuantizeScale quantize_scale(float absmax, float levels = 127.0f) {
  const float inverse = levels / absmax;
  if (__builtin_isinf(inverse)) return {0.0f, 0.0f};
  return {absmax / levels, inverse};
}

/// Calls quantize(x, k, q, scale) for each group of a row until one returns false.
template <class Quantize>
bool quantize_groups(const QuantizeRow& row, const Quantize& quantize) {
  for (int64_t begin = 0; begin < row.k; begin += group_size) {
    const int64_t size = row.k - begin < group_size ? row.k - begin : group_size;
    if (!quantize(row.x + begin, size, row.q + begin, row.scale + begin / group_size)) return false;
  }
  return true;
}

}  // namespace
}  // namespace octet::kernels

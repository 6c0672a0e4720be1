#include "quant/dequantize.h"

#include "kernels/types.h"
#include "quant/pack.h"
#include "quant/quantize.h"

namespace octet::quant {

using kernels::num_groups;
using kernels::tile_n;

void dequantize_row(const int8_t* packed, int64_t k, int64_t row, float scale, int8_t* q,
                    float* out) {
  unpack_row(packed, k, row, q);
  for (int64_t i = 0; i < k; ++i) out[i] = static_cast<float>(q[i]) * scale;
}

void dequantize_row_grouped(const int8_t* packed, int64_t k, int64_t row, const uint16_t* scale,
                            int8_t* q, float* out) {
  unpack_row(packed, k, row, q);
  const int64_t tile = row / tile_n, lane = row % tile_n;
  for (int64_t i = 0; i < k; ++i) {
    const int64_t group = tile * num_groups(k) + i / kernels::group_size;
    out[i] = static_cast<float>(q[i]) * bfloat16_value(scale[group * tile_n + lane]);
  }
}

}  // namespace octet::quant

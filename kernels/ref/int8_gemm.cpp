// The definition of the int8 matrix multiplications: kernels/types.h, written as plain loops.
#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// acc[r] = sum over chunks [begin, end) of a and the 16 output rows of one tile.
void dot_tile(const int8_t* a, const int8_t* tile, int64_t begin, int64_t end,
              int32_t (&acc)[tile_n]) {
  for (int32_t& value : acc) value = 0;
  for (int64_t c = begin; c < end; ++c)
    for (int64_t r = 0; r < tile_n; ++r)
      for (int64_t j = 0; j < tile_k; ++j)
        acc[r] += a[tile_k * c + j] * tile[(c * tile_n + r) * tile_k + j];
}

int64_t columns(int64_t n, int64_t tile) {
  return n - tile * tile_n < tile_n ? n - tile * tile_n : tile_n;
}

template <class Gemm>
void store(const Gemm& g, int64_t row, int64_t col, float value) {
  if (g.bias) value = value + g.bias[col];
  float& c = g.c[row * g.ldc + col];
  c = g.store == Store::add ? c + value : value;
}

float bfloat16_value(uint16_t bits) {
  return __builtin_bit_cast(float, uint32_t{bits} << 16);
}

}  // namespace

void gemm_s8s8_f32_ref(const GemmS8& g) {
  const int64_t chunks = padded_k(g.k) / tile_k;
  int32_t acc[tile_n];
  for (int64_t row = 0; row < g.m; ++row)
    for (int64_t tile = 0; tile * tile_n < g.n; ++tile) {
      dot_tile(g.a + row * g.lda, g.w + tile * tile_n * padded_k(g.k), 0, chunks, acc);
      for (int64_t r = 0; r < columns(g.n, tile); ++r) {
        const int64_t col = tile * tile_n + r;
        const float scale = g.a_scale[row] * g.w_scale[col];
        store(g, row, col, static_cast<float>(acc[r]) * scale);
      }
    }
}

void gemm_s8s8_f32_g128_ref(const GemmS8Grouped& g) {
  const int64_t chunks = padded_k(g.k) / tile_k, groups = num_groups(g.k);
  constexpr int64_t group_chunks = group_size / tile_k;
  int32_t acc[tile_n];
  for (int64_t row = 0; row < g.m; ++row)
    for (int64_t tile = 0; tile * tile_n < g.n; ++tile) {
      float value[tile_n] = {};
      for (int64_t group = 0; group < groups; ++group) {
        const int64_t begin = group * group_chunks, end = begin + group_chunks;
        dot_tile(g.a + row * g.lda, g.w + tile * tile_n * padded_k(g.k), begin,
                 end < chunks ? end : chunks, acc);
        const uint16_t* w_scale = g.w_scale + (tile * groups + group) * tile_n;
        for (int64_t r = 0; r < tile_n; ++r) {
          const float scale = g.a_scale[row * groups + group] * bfloat16_value(w_scale[r]);
          value[r] = __builtin_fmaf(static_cast<float>(acc[r]), scale, value[r]);
        }
      }
      for (int64_t r = 0; r < columns(g.n, tile); ++r) store(g, row, tile * tile_n + r, value[r]);
    }
}

void gemm_s8s8_s32_ref(const GemmS8S32& g) {
  const int64_t chunks = padded_k(g.k) / tile_k;
  int32_t acc[tile_n];
  for (int64_t row = 0; row < g.m; ++row)
    for (int64_t tile = 0; tile * tile_n < g.n; ++tile) {
      dot_tile(g.a + row * g.lda, g.w + tile * tile_n * padded_k(g.k), 0, chunks, acc);
      for (int64_t r = 0; r < columns(g.n, tile); ++r)
        g.c[row * g.ldc + tile * tile_n + r] = acc[r];
    }
}

}  // namespace octet::kernels

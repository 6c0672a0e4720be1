#pragma once
// The int8 matrix multiplications of every AArch64 instruction set, around its inner loop, Dot:
//   Dot::most_rows                          rows of a block
//   Dot::dot<rows>(a, lda, w, chunks, acc)  acc[r][q] = products of row r of a and outputs 4 q to
//                                           4 q + 3 of a tile of w, over `chunks` chunks, exact
// All of it has internal linkage: each instruction set compiles its own copy.
#include <arm_neon.h>

#include "kernels/gemm_blocks.h"

namespace octet::kernels {
namespace {

/// Registers of 4 outputs in a tile.
inline constexpr int quads = 4;

/// Bias and store of 4 values of a row, or as many as there are columns left.
template <class Gemm>
[[gnu::always_inline]] inline void store(const Gemm& g, int64_t row, int64_t col,
                                         float32x4_t value) {
  float* c = g.c + row * g.ldc + col;
  if (g.n - col >= 4) {
    if (g.bias) value = vaddq_f32(value, vld1q_f32(g.bias + col));
    if (g.store == Store::add) value = vaddq_f32(vld1q_f32(c), value);
    return vst1q_f32(c, value);
  }
  float values[4];
  vst1q_f32(values, value);
  for (int64_t i = 0; i < g.n - col; ++i) {
    if (g.bias) values[i] = values[i] + g.bias[col + i];
    c[i] = g.store == Store::add ? c[i] + values[i] : values[i];
  }
}

/// The whole products of a block: those of GemmS8 and GemmS8S32.
template <class Dot, int rows, class Gemm>
[[gnu::always_inline]] inline void multiply(const Gemm& g, int64_t row, int64_t tile,
                                            int32x4_t (&acc)[rows][quads]) {
  const int64_t k = padded_k(g.k);
  Dot::template dot<rows>(g.a + row * g.lda, g.lda, g.w + tile * tile_n * k, k / tile_k, acc);
}

/// Not inlined: what the loops around it keep in vector registers would spill its sums.
template <class Dot, int rows>
[[gnu::noinline]] void block(const GemmS8& g, int64_t row, int64_t tile) {
  int32x4_t acc[rows][quads];
  multiply<Dot, rows>(g, row, tile, acc);
#pragma GCC unroll 6
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int q = 0; q < quads; ++q) {
      const int64_t col = tile * tile_n + 4 * q;
      const float32x4_t scale = vmulq_n_f32(vld1q_f32(g.w_scale + col), g.a_scale[row + r]);
      store(g, row + r, col, vmulq_f32(vcvtq_f32_s32(acc[r][q]), scale));
    }
}

template <class Dot, int rows>
void block(const GemmS8Grouped& g, int64_t row, int64_t tile) {
  const int64_t k = padded_k(g.k), groups = num_groups(g.k);
  const int8_t* a = g.a + row * g.lda;
  const int8_t* w = g.w + tile * tile_n * k;
  float32x4_t value[rows][quads];
#pragma GCC unroll 6
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int q = 0; q < quads; ++q) value[r][q] = vdupq_n_f32(0);
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t begin = group * group_size;
    const int64_t size = k - begin < group_size ? k - begin : group_size;
    int32x4_t acc[rows][quads];
    Dot::template dot<rows>(a + begin, g.lda, w + begin * tile_n, size / tile_k, acc);
    const uint16_t* w_scale = g.w_scale + (tile * groups + group) * tile_n;
#pragma GCC unroll 4
    for (int q = 0; q < quads; ++q) {
      // A bfloat16 is the upper half of the fp32.
      const float32x4_t scales = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(w_scale + 4 * q), 16));
#pragma GCC unroll 6
      for (int r = 0; r < rows; ++r) {
        const float32x4_t scale = vmulq_n_f32(scales, g.a_scale[(row + r) * groups + group]);
        value[r][q] = vfmaq_f32(value[r][q], vcvtq_f32_s32(acc[r][q]), scale);
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int q = 0; q < quads; ++q) store(g, row + r, tile * tile_n + 4 * q, value[r][q]);
}

template <class Dot, int rows>
void block(const GemmS8S32& g, int64_t row, int64_t tile) {
  int32x4_t acc[rows][quads];
  multiply<Dot, rows>(g, row, tile, acc);
#pragma GCC unroll 6
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int q = 0; q < quads; ++q) {
      const int64_t col = tile * tile_n + 4 * q;
      int32_t values[4];
      vst1q_s32(values, acc[r][q]);
      for (int64_t i = 0; i < 4 && i < g.n - col; ++i) g.c[(row + r) * g.ldc + col + i] = values[i];
    }
}

/// All of c, for any of the three kinds of operands.
template <class Dot, class Gemm>
void gemm(const Gemm& g) {
  for_each_block<Dot::most_rows, 1>(
      g, 0, padded_n(g.n) / tile_n,
      [&](auto shape, int64_t row, int64_t tile, Ahead) { block<Dot, shape.rows>(g, row, tile); });
}

/// The four bytes at p, four times.
inline int8x16_t load_four(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

}  // namespace
}  // namespace octet::kernels

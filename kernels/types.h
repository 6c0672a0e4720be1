#pragma once
// Operands of the kernels: raw pointers and plain structs. Matrices are row-major unless a layout
// is given; strides count elements.
#include <cstdint>

namespace octet::kernels {

// --- packed int8 weights ---------------------------------------------------------------------
//
// A matrix W [n, k] is stored as tiles of 16 output rows x 4 values of K:
//   packed[n/16][k/4][16][4],  packed[t][c][r][j] = W[16 t + r][4 c + j],
// n rounded up to a multiple of 16 and k to a multiple of 4 with zeros. One 64-byte block
// packed[t][c] is an AVX-512 register, two AVX2 or four NEON registers, or a row of an AMX B tile.
inline constexpr int64_t tile_n = 16;
inline constexpr int64_t tile_k = 4;
constexpr int64_t padded_n(int64_t n) {
  return (n + tile_n - 1) / tile_n * tile_n;
}
constexpr int64_t padded_k(int64_t k) {
  return (k + tile_k - 1) / tile_k * tile_k;
}

/// Values of K that share a scale in the grouped scheme; the last group may be shorter.
inline constexpr int64_t group_size = 128;
constexpr int64_t num_groups(int64_t k) {
  return (k + group_size - 1) / group_size;
}

// --- layouts of activations --------------------------------------------------------------------

/// How the rows of activations a [m, k] lie that a matrix multiplication takes.
enum class ActivationLayout : uint8_t {
  /// As they are, lda apart.
  rows,
  /// For AMX: blocks of 32 rows x 64 values, each a pair of tiles,
  ///   packed[m/32][k/64][32][64],  packed[b][p][r][i] = a[32 b + r][64 p + i],
  /// m rounded up to a multiple of 32 and k to 64; the padding may hold anything. Rows further
  /// apart would bring one cache line each from as many pages, and fall on few sets of the cache.
  tiles,
};
inline constexpr int64_t activation_rows = 32;
inline constexpr int64_t activation_k = 64;
/// Bytes from row to row, of tiles from one block of 32 rows to the next by 32.
constexpr int64_t activation_stride(int64_t k) {
  return (k + activation_k - 1) / activation_k * activation_k;
}
constexpr int64_t activation_bytes(ActivationLayout layout, int64_t m, int64_t k) {
  const int64_t blocks = (m + activation_rows - 1) / activation_rows;
  return (layout == ActivationLayout::tiles ? blocks * activation_rows : m) * activation_stride(k);
}

/// The largest k: 131072 * 127 * 128 is the last that int32 holds.
inline constexpr int64_t max_k = 131072;

/// What a matrix multiplication does with its result.
enum class Store : uint8_t {
  assign,  ///< c = result
  add,     ///< c = c + result (the residual stream)
};

/// c [m, n] (=, +=) dequantized(a [m, k] x W^T) + bias, for W packed as above, one scale an output
/// channel and one a token:
///   acc   = sum over k of q_a * q_w, int32, exact
///   value = float(acc) * (a_scale[row] * w_scale[col])       three roundings, in this order
///   value = value + bias[col]                                 if bias
///   c     = value, or c + value                               Store::assign, Store::add
/// Every variant computes this expression, so all give the same bits.
///
/// a holds q_a xor Table::activation_xor in its first k values of a row; the values from k up to
/// padded_k(k) may be anything that is initialized (their weights are 0). Every kernel takes rows,
/// and its instruction set's activation_layout() (kernels/table.h).
/// q_a in [-127, 127]; q_w in [-128, 127]; k <= max_k. w starts on a 64-byte boundary; everything
/// else may be unaligned. c is written in rows [0, m) and columns [0, n) only. m may be 0.
struct GemmS8 {
  int64_t m, n, k;
  const int8_t* a;
  int64_t lda;           ///< >= padded_k(k); of rows
  const float* a_scale;  ///< [m]
  const int8_t* w;       ///< packed [padded_n(n) / 16][padded_k(k) / 4][16][4]
  const float* w_scale;  ///< [padded_n(n)]
  const int32_t* w_sum;  ///< [padded_n(n)] sum over k of q_w: undoes the xor of 0x80
  const float* bias;     ///< [n] or null
  float* c;
  int64_t ldc;
  Store store;
  /// Packed weights that the caller multiplies with next, or null: kernels may bring some of them
  /// into the cache. Never dereferenced, so they may also end sooner than a kernel thinks.
  const int8_t* next = nullptr;
  /// One row: a kernel may read w as one stream, where it else reads several places in turn.
  bool single_stream = false;
  ActivationLayout layout = ActivationLayout::rows;
};

/// The same with one scale a group of 128 along K, for weights and activations:
///   value = 0; for each group g, in order:
///     acc   = sum over the group of q_a * q_w, int32
///     value = fma(float(acc), a_scale[row][g] * w_scale[col][g], value)
///   then bias and store as above.
/// Weight scales are bfloat16 (the upper half of the fp32 with the same value), tile-major.
struct GemmS8Grouped {
  int64_t m, n, k;
  const int8_t* a;
  int64_t lda;
  const float* a_scale;     ///< [m][num_groups(k)]
  const int8_t* w;          ///< packed
  const uint16_t* w_scale;  ///< bfloat16 [padded_n(n) / 16][num_groups(k)][16]
  const int16_t* w_sum;     ///< [padded_n(n) / 16][num_groups(k)][16]
  const float* bias;
  float* c;
  int64_t ldc;
  Store store;
  const int8_t* next = nullptr;
  bool single_stream = false;
  ActivationLayout layout = ActivationLayout::rows;
};

/// c [m, n] int32 = a x W^T, for tests of the integer part: operands as in GemmS8.
struct GemmS8S32 {
  int64_t m, n, k;
  const int8_t* a;
  int64_t lda;
  const int8_t* w;
  const int32_t* w_sum;
  int32_t* c;
  int64_t ldc;
  const int8_t* next = nullptr;
  bool single_stream = false;
  ActivationLayout layout = ActivationLayout::rows;
};

/// One row of activations to int8, `q = rint(x * (127 / absmax))`, round half to even,
/// scale = absmax / 127, in fp32 with one rounding an operation. Where 127 / absmax is infinite
/// (absmax is 0 or below 3.8e-37, too small for any activation) the row (or group) counts as zero:
/// scale 0 and zeros.
///   q[i] = quantized xor activation_xor for i < k, and 0 xor activation_xor up to padded_k(k).
/// Returns false, with q and scale unspecified, if a value is not finite.
struct QuantizeRow {
  int64_t k;
  const float* x;
  int8_t* q;               ///< [padded_k(k)]
  float* scale;            ///< [1], or [num_groups(k)] in the grouped kernel
  uint8_t activation_xor;  ///< 0 or 0x80
};

/// The same to int16, with kv_s16_levels in place of 127.
struct QuantizeRow16 {
  int64_t k;
  const float* x;
  int16_t* q;    ///< [padded_k(k)], zeros from k on
  float* scale;  ///< [1]
};

// --- order of float operations ---------------------------------------------------------------
//
// Operations here and below are rounded once each, to nearest even, and sums are added in the order
// that is given, so that every variant gives the same bits. Exceptions: ref adds in orders of
// its own (rows in double, so that a variant's error shows) and has the C library's exponential;
// dot (matrices in fp16 and fp32) and project (LoRA) depend on the vector's width.
//
// exp(x), within 1.18 units in the last place; NaN stays NaN (kernels/simd/exp.h):
//   x = min(max(x, -110), 100);  n = rint(x * c), c = 0x1.715476p+0, half to even
//   f = fma(x, 0x1.4ae0cp-26, fma(x, c, -n))
//   p = 0x1.41fbbap-13;  p = fma(p, f, a) for a = 0x1.5f3e54p-10, 0x1.3b2d4cp-7, 0x1.c6aee8p-5,
//       0x1.ebfbdcp-3, 0x1.62e43p-1, 1
//   exp = p 2^n
// lane_sum(w), of a row's weights of a softmax:
//   s[l] = 0;  s[l] = s[l] + w[j] for j = l, l + 16, l + 32, ..,  l < 16
//   s[l] = s[l] + s[l ^ h] for h = 8, 4, 2, 1;  lane_sum = s[0]
// square_sum(x), as 256 threads of the CUDA backend add, of the row in quads padded with zeros:
//   q[i] = (a a + b b) + (c c + d d) for a, b, c, d = x[4 i], .., x[4 i + 3]
//   s[t] = 0;  s[t] = s[t] + q[i] for j = 0, 1, 2, .., those i that the row has:
//       i = j / 2 * 512 + t / 32 * 64 + j % 2 * 32 + t % 32
//   s[t] = s[t] + s[t ^ h] for h = 16, 8, 4, 2, 1;  square_sum = s[0] + s[32] + .. + s[224]

// --- attention -------------------------------------------------------------------------------

/// Keys and values are cached in blocks of 64 positions. In a block keys are dimension-major, so
/// that the scores of neighbouring positions are computed side by side:
///   keys [head_dim][64], values [64][head_dim].
inline constexpr int64_t kv_block = 64;
/// attention_s8 and attention_s16 take blocks of int8 and int16, in groups of g = 4 and 2 values,
/// with p = padded_n(head_dim) and a scale for each position:
///   keys [p/g][64][g], values [64/g][p][g], each followed by float scale [64].
/// Rows are quantized as by QuantizeRow and QuantizeRow16; int8 keys are stored xor
/// Table::activation_xor, other values as they are. The dimensions from head_dim on may be anything
/// (of int16, in [-4095, 4095]), and so the values of positions that no row sees, but every scale
/// is finite.
constexpr int64_t kv_scales(int64_t head_dim) {
  return kv_block * padded_n(head_dim);  // where the scales begin, in values
}
constexpr int64_t kv_s8_bytes(int64_t head_dim) {
  return kv_scales(head_dim) + kv_block * int64_t{sizeof(float)};
}
constexpr int64_t kv_s16_bytes(int64_t head_dim) {
  return 2 * kv_scales(head_dim) + kv_block * int64_t{sizeof(float)};
}
/// The largest int16 key, value, query or weight: int32 holds the sum of 128 products.
inline constexpr int32_t kv_s16_levels = 4095;
inline constexpr int64_t kv_s16_part = 128;
/// The softmax is reduced over spans of 512 positions (0 .. 511, 512 .. 1023, ...), each on its
/// own, which are then merged in rising order. Spans follow from the position alone, so whoever
/// computes them, and with whatever other rows, a row's result is the same bits.
inline constexpr int64_t kv_span = 512;

/// Causal attention of `rows` query rows, which share one kv head, over that head's cached
/// positions j in [first, min(end, length[row])). A span gives
///   s_j = (q . k_j) * scale,  max = max s_j,  w_j = exp(s_j - max),  sum = lane_sum(w),
///   out = sum w_j v_j                            both sums of products: fma, j or d rising
/// and is merged into the row's partial result (at first max = -inf, sum = 0, out = 0):
///   new = max(max_a, max_b);  f = exp(max - new) of either side, 1 where max = new
///   sum = sum_a f_a + sum_b f_b;  out = fma(out_b, f_b, out_a f_a)
/// (Milakov & Gimelshein 2018, arXiv:1805.02867). attention_merge_f32 does the rest.
/// Keys and values at positions >= length[row] of every row may hold anything; those before the
/// longest row's length must be finite.
///
/// Over int8 blocks the products are those of integers, exact in int32, with
///   q quantized as by QuantizeRow (one that is not finite makes the result NaN),
///   s_j = float(q . k_j) * (k_scale_j * (q_scale * scale)),
/// and for each block of positions, with t_j = w_j * v_scale_j and step = max t_j / 255,
///   u_j = rint(t_j * (255 / max t_j)), 0 where that is infinite,
///   out = sum over the blocks, rising, of fma(float(sum u_j v_j), step, out).
/// Over int16 blocks the same with 4095 in place of 255, q quantized as by QuantizeRow16, and
/// float(q . k_j) the sum of those of 128 dimensions each, rising.
struct Attention {
  int64_t rows;
  int64_t head_dim;
  const float* q;  ///< row r at q + r * q_stride
  int64_t q_stride;
  const void* const* k_blocks;  ///< [b]: positions first + 64 b .. + 63, of the kernel's type
  const void* const* v_blocks;  ///< the same
  const int64_t* length;        ///< [rows], >= 1
  int64_t first;                ///< a multiple of kv_span
  int64_t end;
  float scale;
  float* partial;  ///< [rows][attention_partial(head_dim)]: out, then max, sum
  float* scratch;  ///< [attention_scratch(head_dim)]
  /// Blocks of keys that the same thread will likely want next: they may come nearer meanwhile.
  const void* const* next_keys = nullptr;
  int64_t next_blocks = 0;
};
/// Floats of a row's partial result.
constexpr int64_t attention_partial(int64_t head_dim) {
  return head_dim + 2;
}
/// Query rows that go through the registers together.
inline constexpr int64_t attention_rows = 6;
/// Rows that scratch memory has room for: AMX takes 16 together.
inline constexpr int64_t attention_scratch_rows = 16;
/// Floats: a span's scores, and as 16-bit values its weights and the queries.
constexpr int64_t attention_scratch(int64_t head_dim) {
  return attention_scratch_rows * (kv_span + (kv_span + padded_k(head_dim)) / 2);
}

/// out = the row's `parts` partial results, merged in rising order as above, times 1 / their sum.
/// The first part is not empty.
struct AttentionMerge {
  int64_t rows;
  int64_t head_dim;
  int64_t parts;
  const float* partial;  ///< part p, row r at partial + p * part_stride + r * attention_partial
  int64_t part_stride;
  float* out;  ///< row r at out + r * out_stride
  int64_t out_stride;
};

// --- function types --------------------------------------------------------------------------
//
// Rows of n fp32 values; x and y may be the same memory. An fp16 value is a uint16_t.

using GemmS8Function = void (*)(const GemmS8&);
using GemmS8GroupedFunction = void (*)(const GemmS8Grouped&);
using GemmS8S32Function = void (*)(const GemmS8S32&);
using QuantizeFunction = bool (*)(const QuantizeRow&);
using Quantize16Function = bool (*)(const QuantizeRow16&);
using AttentionFunction = void (*)(const Attention&);
using AttentionMergeFunction = void (*)(const AttentionMerge&);
/// Probes of what one thread can do: a loop that only multiplies and adds in registers, repeated
/// `iterations` times. Returns the operations done (a multiply and an add are two).
using PeakFunction = uint64_t (*)(uint64_t iterations);
/// Reads `bytes` (a multiple of 512) from a 64-byte boundary, in parts side by side where that is
/// faster; returns their sum as 64-bit words, so that no read can be left out. For the read
/// bandwidth.
inline constexpr uint64_t read_streams = 4;  ///< parts of the x86 kernels
using ReadFunction = uint64_t (*)(const void* data, uint64_t bytes);
/// y = x / root * w, root = sqrt(square_sum(x) / n + eps), in this order: times a reciprocal is
/// another rounding, which moves values of bf16 weights off the halves that they lie on exactly
/// when they are quantized.
using RmsNormFunction = void (*)(const float* x, const float* w, float* y, int64_t n, float eps);
/// y = w * (1 / lane_sum(w)), w = exp(x - max(x))
using SoftmaxFunction = void (*)(const float* x, float* y, int64_t n);
/// y = gate / (1 + exp(-gate)) * up, from left to right; y may be gate or up
using SiluMulFunction = void (*)(const float* gate, const float* up, float* y, int64_t n);
/// Each `block` of x [n], in place, times the Hadamard matrix of Sylvester's construction over
/// sqrt(block): an orthogonal matrix that is its own inverse. block: a power of two that divides n.
/// Computed as x[i], x[i + h] = x[i] + x[i + h], x[i] - x[i + h] for h = 1, 2, 4, .. block / 2,
/// then times float(1 / sqrt(block)): every variant gives the same bits.
using HadamardFunction = void (*)(float* x, int64_t n, int64_t block);
/// x [head_dim] in place; a, b = x[i], x[i + head_dim / 2] become a * cos - b * sin and
/// b * cos + a * sin, without an fma; cos, sin [head_dim / 2]
using RopeFunction = void (*)(float* x, const float* cos, const float* sin, int64_t head_dim);
/// y = y + x
using AddFunction = void (*)(const float* x, float* y, int64_t n);
/// sum of a[i] b[i], fp32 accumulation
using DotF32Function = float (*)(const float* a, const float* b, int64_t n);
using DotF16Function = float (*)(const uint16_t* a, const float* b, int64_t n);
/// y[c] = y[c] + sum over j of t[j] w[c / 16][j][c % 16], in rising order of j, fp32: one row of a
/// product with a matrix of low rank. w: fp16, in tiles of 16 columns, the last one padded.
struct LowRank {
  int64_t n, rank;
  const float* t;     ///< [rank]
  const uint16_t* w;  ///< [n / 16][rank][16]
  float* y;           ///< [n]
};
using LowRankFunction = void (*)(const LowRank&);
/// t[j] = sum over i of x[i] w[i / 16][j][i % 16] for j < project_rows, fp32 accumulation: what
/// LowRank takes as t. The rows of w are read side by side, so that they are one stream of memory.
inline constexpr int64_t project_rows = 4;
struct Project {
  int64_t k;
  const float* x;     ///< [k]
  const uint16_t* w;  ///< fp16 [k / 16][project_rows][16], the last tile padded with zeros
  float* t;           ///< [project_rows]
};
using ProjectFunction = void (*)(const Project&);
/// round to nearest even, overflow to infinity, NaN stays NaN; subnormals are kept
using ConvertF32F16Function = void (*)(const float* x, uint16_t* y, int64_t n);
using ConvertF16F32Function = void (*)(const uint16_t* x, float* y, int64_t n);

}  // namespace octet::kernels

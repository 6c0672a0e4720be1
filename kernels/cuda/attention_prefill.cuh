#pragma once
// What both kinds of prefill attention over fp16 caches do by themselves in registers: the queries,
// and the running softmax of Milakov & Gimelshein 2018 (arXiv:1805.02867) and Dao et al. 2022
// (arXiv:2205.14135).
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/query_rows.cuh"
#include "kernels/cuda/rotate.cuh"

namespace octet::kernels::cuda {

/// attention_prefill() where Queue::warpgroups, for a head_dim of 64 or 128.
void attention_prefill_warpgroup(const PrefillAttention& attention, const Queue& queue);

inline constexpr int position_tiles = kv_block / 8;

/// Tile t of the warp's queries, normalized and rotated: store(k, operand), the A operand of step k
/// of mma.m16n8k16.
template <int head_dim, int row_tiles, class Store>
__device__ inline void load_queries(const HeadRows& qkv, const QueryRows<row_tiles>& rows, int t,
                                    Store store) {
  constexpr int steps = head_dim / 16, half = head_dim / 2;
  const int column = threadIdx.x % 4 * 2;
  float2 q[steps][4];  // of a step: upper row, lower row; the same, 8 columns on
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int64_t row = rows.row(2 * t + r);
    const float* from = qkv.q + row * qkv.stride + rows.head(2 * t + r) * head_dim + column;
    float sum = 0;
#pragma unroll
    for (int k = 0; k < steps; ++k)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float2 two = *reinterpret_cast<const float2*>(from + 16 * k + 8 * i);
        sum += two.x * two.x + two.y * two.y;
        q[k][2 * i + r] = two;
      }
    if (qkv.q_norm) {
      const float scale =
          1.0f / sqrtf(combine_quad(sum, Sum()) / static_cast<float>(head_dim) + qkv.eps);
#pragma unroll
      for (int k = 0; k < steps; ++k)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float* norm = qkv.q_norm + 16 * k + 8 * i + column;
          q[k][2 * i + r].x *= scale * norm[0];
          q[k][2 * i + r].y *= scale * norm[1];
        }
    }
    const float* angles = qkv.angles + row * head_dim + column;
#pragma unroll
    for (int k = 0; k < steps / 2; ++k)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float2 &low = q[k][2 * i + r], &high = q[k + steps / 2][2 * i + r];
        const float *cosine = angles + 16 * k + 8 * i, *sine = cosine + half;
        rotate_pair(low.x, high.x, cosine[0], sine[0]);
        rotate_pair(low.y, high.y, cosine[1], sine[1]);
      }
  }
#pragma unroll
  for (int k = 0; k < steps; ++k)
    store(k, make_uint4(pack_halves(q[k][0].x, q[k][0].y), pack_halves(q[k][1].x, q[k][1].y),
                        pack_halves(q[k][2].x, q[k][2].y), pack_halves(q[k][3].x, q[k][3].y)));
}

/// The softmax of a lane's rows so far. Scores are times `scale`, in powers of two, which takes
/// log2(e) in: one multiplication and addition brings a score to its distance from the maximum.
template <int row_tiles>
struct Softmax {
  float scale;
  float max[2 * row_tiles], sum[2 * row_tiles];  // the sum is of the lane's own positions

  __device__ explicit Softmax(float scale_in) : scale(scale_in * 1.44269504f) {
#pragma unroll
    for (int i = 0; i < 2 * row_tiles; ++i) {
      max[i] = -INFINITY;
      sum[i] = 0;
    }
  }

  /// Scores of positions behind the row's own, where the cache block has some, weigh nothing.
  __device__ void hide(const QueryRows<row_tiles>& rows, int block,
                       float (&scores)[row_tiles][position_tiles][4]) const {
#pragma unroll
    for (int i = 0; i < 2 * row_tiles; ++i) {
      const int seen =
          rows.position(i) - block * int{kv_block} - static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
      for (int n = 0; n < position_tiles; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          if (8 * n + e > seen) scores[i / 2][n][i % 2 * 2 + e] = -INFINITY;
    }
  }

  /// Scores become weights; results so far are brought to the new maximum.
  template <int dim_tiles>
  __device__ void weigh(float (&scores)[row_tiles][position_tiles][4],
                        float (&out)[row_tiles][dim_tiles][4]) {
#pragma unroll
    for (int i = 0; i < 2 * row_tiles; ++i) {
      float block_max = -INFINITY;
#pragma unroll
      for (int n = 0; n < position_tiles; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) block_max = fmaxf(block_max, scores[i / 2][n][i % 2 * 2 + e]);
      const float larger = fmaxf(max[i], combine_quad(block_max, Larger()) * scale);
      const float factor = power_of_two(max[i] - larger);
      max[i] = larger;
      sum[i] *= factor;
#pragma unroll
      for (int n = 0; n < dim_tiles; ++n) {
        out[i / 2][n][i % 2 * 2] *= factor;
        out[i / 2][n][i % 2 * 2 + 1] *= factor;
      }
#pragma unroll
      for (int n = 0; n < position_tiles; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& score = scores[i / 2][n][i % 2 * 2 + e];
          score = power_of_two(fmaf(score, scale, -larger));
          sum[i] += score;
        }
    }
  }
};

/// Weights of positions [16 k, 16 k + 16) as the A operand of mma.m16n8k16.
__device__ inline uint4 weights_of(const float (&scores)[position_tiles][4], int k) {
  const float(&x)[4] = scores[2 * k], (&y)[4] = scores[2 * k + 1];
  return make_uint4(pack_halves(x[0], x[1]), pack_halves(x[2], x[3]), pack_halves(y[0], y[1]),
                    pack_halves(y[2], y[3]));
}

/// Divides the results by the sums of their weights, and stores them.
template <int row_tiles, int dim_tiles>
__device__ inline void store_results(const PrefillAttention& a, const QueryRows<row_tiles>& rows,
                                     const Softmax<row_tiles>& softmax,
                                     const float (&out)[row_tiles][dim_tiles][4]) {
#pragma unroll
  for (int i = 0; i < 2 * row_tiles; ++i) {
    const float sum = combine_quad(softmax.sum[i], Sum());
    if (!rows.there(i)) continue;
    float* to =
        a.out + rows.row(i) * a.out_stride + rows.head(i) * (8 * dim_tiles) + threadIdx.x % 4 * 2;
#pragma unroll
    for (int n = 0; n < dim_tiles; ++n)
      *reinterpret_cast<float2*>(to + 8 * n) =
          make_float2(out[i / 2][n][i % 2 * 2] / sum, out[i / 2][n][i % 2 * 2 + 1] / sum);
  }
}

}  // namespace octet::kernels::cuda

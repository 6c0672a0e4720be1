#pragma once
// Operations on rows of fp32 and fp16, for any vector width. A value's result depends on the row
// alone: the values after the last whole vector go through the same instructions, padded.
#include <cmath>

#include "kernels/simd/exp.h"
#include "kernels/types.h"

namespace octet::kernels::simd {
namespace {

/// sum of a[i] b[i]. Four chains hide the latency of the fma (4 cycles, two a cycle; 8 would be
/// exact, but rows are read from the L2 cache or memory at less than one vector a cycle).
template <class Arch, class A>
float dot(const A* a, const float* b, int64_t n) {
  using V = Vector<Arch>;
  constexpr int64_t chains = 4;
  typename V::type sum[chains] = {0.0f, 0.0f, 0.0f, 0.0f};
  int64_t i = 0;
  for (; i + chains * V::size <= n; i += chains * V::size)
    for (int64_t c = 0; c < chains; ++c) {
      const int64_t at = i + c * V::size;
      sum[c] = Vector<Arch>::fma(V::load(a + at), V::load(b + at), sum[c]);
    }
  each_vector<Arch>(n - i, [&](int64_t j, int64_t count) {
    sum[0] = Vector<Arch>::fma(load<Arch>(a + i + j, count), load<Arch>(b + i + j, count), sum[0]);
  });
  return V::sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/// `tiles` tiles of columns, `step` columns apart, from c on; of a single one `count` columns
/// exist. Several hide the latency of the fma. ahead: bytes from a tile's weights to those asked
/// for, or 0.
template <class Arch, int64_t tiles>
void low_rank_tiles(const LowRank& l, int64_t c, int64_t step, int64_t count, int64_t ahead) {
  using V = Vector<Arch>;
  constexpr int64_t in_tile = tile_n / V::size, vectors = tiles * in_tile;
  const uint16_t* const w = l.w + c * l.rank;
  const auto y = [&](int64_t i) { return l.y + c + i / in_tile * step + i % in_tile * V::size; };
  const auto left = [&](int64_t i) {
    const int64_t rest = count - i % in_tile * V::size;
    return rest < 0 ? 0 : rest < V::size ? rest : V::size;
  };
  typename V::type sum[vectors];
  for (int64_t i = 0; i < vectors; ++i) sum[i] = load<Arch>(y(i), left(i));
  for (int64_t j = 0; j < l.rank; ++j) {
    const typename V::type t(l.t[j]);
    const uint16_t* const row = w + j * tile_n;
    if (ahead && j % 2 == 0)  // a line holds two rows
      for (int64_t i = 0; i < tiles; ++i)
        __builtin_prefetch(reinterpret_cast<const char*>(row + i * step * l.rank) + ahead, 0, 2);
    for (int64_t i = 0; i < vectors; ++i) {
      const int64_t at = i / in_tile * step * l.rank + i % in_tile * V::size;
      sum[i] = V::fma(t, V::load(row + at), sum[i]);
    }
  }
  for (int64_t i = 0; i < vectors; ++i) store<Arch>(y(i), sum[i], left(i));
}

/// Where the weights come from memory, four streams of them give more than one.
template <class Arch>
void low_rank(const LowRank& l) {
  constexpr int64_t tiles_ahead = 2;
  const int64_t quarter = l.n / (4 * tile_n) * tile_n;
  const int64_t ahead = tiles_ahead * tile_n * l.rank * static_cast<int64_t>(sizeof(uint16_t));
  for (int64_t c = 0; c < quarter; c += tile_n)
    low_rank_tiles<Arch, 4>(l, c, quarter, tile_n, c + tiles_ahead * tile_n < quarter ? ahead : 0);
  for (int64_t c = 4 * quarter; c < l.n; c += tile_n)
    low_rank_tiles<Arch, 1>(l, c, tile_n, l.n - c, 0);
}

/// Two sums a row, over the even and the odd tiles, hide the latency of the fma. The loops over
/// `sum` have constant bounds, so that it stays in registers.
template <class Arch>
void project(const Project& p) {
  using V = Vector<Arch>;
  constexpr int64_t ahead = 2048;  // bytes; w comes from memory
  typename V::type sum[2][project_rows] = {{0.0f, 0.0f, 0.0f, 0.0f}, {0.0f, 0.0f, 0.0f, 0.0f}};
  const auto add = [&](const typename V::type& x, const uint16_t* w, auto& sums) {
#pragma GCC unroll 4
    for (int64_t j = 0; j < project_rows; ++j)
      sums[j] = V::fma(x, V::load(w + j * tile_n), sums[j]);
  };
  int64_t i = 0;
  for (; i + 2 * tile_n <= p.k; i += 2 * tile_n) {
    const uint16_t* const w = p.w + i * project_rows;
#pragma GCC unroll 4
    for (int64_t line = 0; line < 4; ++line)
      __builtin_prefetch(reinterpret_cast<const char*>(w) + ahead + 64 * line, 0, 2);
#pragma GCC unroll 4
    for (int64_t at = 0; at < tile_n; at += V::size) {
      add(V::load(p.x + i + at), w + at, sum[0]);
      add(V::load(p.x + i + tile_n + at), w + project_rows * tile_n + at, sum[1]);
    }
  }
  each_vector<Arch>(p.k - i, [&](int64_t at, int64_t count) {
    add(load<Arch>(p.x + i + at, count),
        p.w + (i + at) / tile_n * tile_n * project_rows + at % tile_n, sum[0]);
  });
#pragma GCC unroll 4
  for (int64_t j = 0; j < project_rows; ++j) p.t[j] = V::sum(sum[0][j] + sum[1][j]);
}

template <class Arch>
void softmax(const float* x, float* y, int64_t n) {
  using V = Vector<Arch>;
  using Batch = typename V::type;
  Batch max(-INFINITY);
  each_vector<Arch>(n, [&](int64_t i, int64_t count) {
    max = xsimd::max(max, load<Arch>(x + i, count, -INFINITY));
  });
  const Batch row_max(V::max(max));
  LaneSums<Arch> sums;
  for (int64_t j = 0; j < n; j += sums.lanes)
#pragma GCC unroll 4
    for (int i = 0; i < sums.vectors; ++i) {
      const int64_t at = j + i * V::size, count = n - at < V::size ? n - at : V::size;
      if (count <= 0) break;
      const Batch weight = exponential<V>(load<Arch>(x + at, count, -INFINITY) - row_max);
      sums.part[i] = sums.part[i] + weight;
      store<Arch>(y + at, weight, count);
    }
  const Batch inverse(1.0f / sums.total());
  each_vector<Arch>(n, [&](int64_t i, int64_t count) {
    store<Arch>(y + i, load<Arch>(y + i, count) * inverse, count);
  });
}

template <class Arch>
void silu_mul(const float* gate, const float* up, float* y, int64_t n) {
  using V = Vector<Arch>;
  using Batch = typename V::type;
  each_vector<Arch>(n, [&](int64_t i, int64_t count) {
    const Batch g = load<Arch>(gate + i, count);
    const Batch silu = V::div(g, Batch(1.0f) + exponential<V>(-g));
    store<Arch>(y + i, silu * load<Arch>(up + i, count), count);
  });
}

template <class Arch>
void rope(float* x, const float* cos, const float* sin, int64_t head_dim) {
  const int64_t half = head_dim / 2;
  each_vector<Arch>(half, [&](int64_t i, int64_t count) {
    const auto a = load<Arch>(x + i, count), b = load<Arch>(x + half + i, count);
    const auto c = load<Arch>(cos + i, count), s = load<Arch>(sin + i, count);
    store<Arch>(x + i, a * c - b * s, count);
    store<Arch>(x + half + i, b * c + a * s, count);
  });
}

template <class Arch>
void add(const float* x, float* y, int64_t n) {
  each_vector<Arch>(n, [&](int64_t i, int64_t count) {
    store<Arch>(y + i, load<Arch>(y + i, count) + load<Arch>(x + i, count), count);
  });
}

template <class Arch, class From, class To>
void convert(const From* x, To* y, int64_t n) {
  each_vector<Arch>(
      n, [&](int64_t i, int64_t count) { store<Arch>(y + i, load<Arch>(x + i, count), count); });
}

}  // namespace
}  // namespace octet::kernels::simd

#pragma once
// RMSNorm of a row. Its squares are added as 8 warps of 32 threads do on a GPU (kernels/types.h),
// four neighbours, a quad, a thread at a time.
#include <cmath>

#include "kernels/simd/vector.h"

namespace octet::kernels::simd {
namespace {

inline constexpr int64_t warp_values = 4 * 32;          // that a warp reads at once
inline constexpr int64_t warp_part = 2 * warp_values;   // its neighbouring values
inline constexpr int64_t block_values = 8 * warp_part;  // after which its next ones begin

/// The sums of a warp's threads. Those of a vector's quads lie as two pairwise sums of four vectors
/// leave them: neighbours of a 128-bit lane are a lane's number of quads apart.
template <class Arch>
class WarpSums {
  using V = Vector<Arch>;
  static constexpr int vectors = 32 / V::size;
  typename V::type sum_[vectors];

  static typename V::type quads(const float* x) {
    const auto squares = [](const float* p) { return V::load(p) * V::load(p); };
    return V::pair_sums(V::pair_sums(squares(x), squares(x + V::size)),
                        V::pair_sums(squares(x + 2 * V::size), squares(x + 3 * V::size)));
  }

 public:
  WarpSums() {
#pragma GCC unroll 8
    for (int i = 0; i < vectors; ++i) sum_[i] = typename V::type(0.0f);
  }
  /// Adds warp_values values.
  void add(const float* x) {
#pragma GCC unroll 8
    for (int i = 0; i < vectors; ++i) sum_[i] = sum_[i] + quads(x + i * 4 * V::size);
  }
  float total() const {
    typename V::type sum[vectors];
#pragma GCC unroll 8
    for (int i = 0; i < vectors; ++i) sum[i] = sum_[i];
#pragma GCC unroll 3
    for (int apart = vectors / 2; apart > 0; apart /= 2)
#pragma GCC unroll 4
      for (int i = 0; i < apart; ++i) sum[i] = sum[i] + sum[i + apart];
    typename V::type all = sum[0];
    all = all + V::template exchange<2>(all);
    all = all + V::template exchange<1>(all);
    if constexpr (V::size > 8) all = all + V::template exchange<8>(all);
    if constexpr (V::size > 4) all = all + V::template exchange<4>(all);
    return V::first(all);
  }
};

template <class Arch>
float sum_of_squares(const float* x, int64_t n) {
  float total = 0;
  for (int64_t warp = 0; warp < block_values && warp < n; warp += warp_part) {
    WarpSums<Arch> sums;
    for (int64_t part = warp; part < n; part += block_values)
      for (int64_t i = part; i < part + warp_part && i < n; i += warp_values) {
        if (i + warp_values <= n) {
          sums.add(x + i);
          continue;
        }
        alignas(64) float padded[warp_values] = {};
        for (int64_t j = i; j < n; ++j) padded[j - i] = x[j];
        sums.add(padded);
      }
    total += sums.total();
  }
  return total;
}

template <class Arch>
void rms_norm(const float* x, const float* w, float* y, int64_t n, float eps) {
  using Batch = typename Vector<Arch>::type;
  const Batch root(std::sqrt(sum_of_squares<Arch>(x, n) / static_cast<float>(n) + eps));
  each_vector<Arch>(n, [&](int64_t i, int64_t count) {
    store<Arch>(y + i, Vector<Arch>::div(load<Arch>(x + i, count), root) * load<Arch>(w + i, count),
                count);
  });
}

}  // namespace
}  // namespace octet::kernels::simd

#pragma once
// The Hadamard transform in blocks (kernels/types.h) for any vector width: the steps within a
// vector first, then those between vectors, two at a time.
#include <cmath>

#include "kernels/simd/vector.h"

namespace octet::kernels::simd {

/// The steps of distance h and, within a vector and the block, above.
template <class Arch, int h = 1>
typename Vector<Arch>::type hadamard_in_vector(typename Vector<Arch>::type v, int64_t block) {
  using V = Vector<Arch>;
  if constexpr (h >= V::size) {
    return v;
  } else {
    if (h >= block) return v;
    alignas(64) float signs[V::size];
    for (int i = 0; i < V::size; ++i) signs[i] = i & h ? -1.0f : 1.0f;
    // Lane i: x[i] + x[i ^ h], or x[i ^ h] - x[i] where i has bit h.
    const auto sum = V::template exchange<h>(v) + v * V::load(signs);
    return hadamard_in_vector<Arch, 2 * h>(sum, block);
  }
}

/// One step of distance h >= a vector over a block, times scale.
template <class Arch>
void hadamard_step(float* x, int64_t block, int64_t h, typename Vector<Arch>::type scale) {
  using V = Vector<Arch>;
  for (int64_t i = 0; i < block; i += 2 * h)
    for (int64_t j = i; j < i + h; j += V::size) {
      const auto a = V::load(x + j), b = V::load(x + j + h);
      V::store(x + j, (a + b) * scale);
      V::store(x + j + h, (a - b) * scale);
    }
}

/// The steps of distance h and 2 h.
template <class Arch>
void hadamard_two_steps(float* x, int64_t block, int64_t h, typename Vector<Arch>::type scale) {
  using V = Vector<Arch>;
  for (int64_t i = 0; i < block; i += 4 * h)
    for (int64_t j = i; j < i + h; j += V::size) {
      const auto a = V::load(x + j), b = V::load(x + j + h);
      const auto c = V::load(x + j + 2 * h), d = V::load(x + j + 3 * h);
      const auto ab = a + b, a_b = a - b, cd = c + d, c_d = c - d;
      V::store(x + j, (ab + cd) * scale);
      V::store(x + j + h, (a_b + c_d) * scale);
      V::store(x + j + 2 * h, (ab - cd) * scale);
      V::store(x + j + 3 * h, (a_b - c_d) * scale);
    }
}

template <class Arch>
void hadamard(float* x, int64_t n, int64_t block) {
  using V = Vector<Arch>;
  using Batch = typename V::type;
  const Batch scale(static_cast<float>(1 / std::sqrt(static_cast<double>(block))));
  const Batch one(1.0f), last = block <= V::size ? scale : one;
  each_vector<Arch>(n, [&](int64_t i, int64_t count) {
    store<Arch>(x + i, hadamard_in_vector<Arch>(load<Arch>(x + i, count), block) * last, count);
  });
  for (int64_t begin = 0; begin < n; begin += block)
    for (int64_t h = V::size; h < block; h *= 4) {
      if (2 * h == block)
        hadamard_step<Arch>(x + begin, block, h, scale);
      else
        hadamard_two_steps<Arch>(x + begin, block, h, 4 * h == block ? scale : one);
    }
}

}  // namespace octet::kernels::simd

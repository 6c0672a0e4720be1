#pragma once
// The Hadamard transform in blocks (kernels/types.h) for any vector width: the steps within a
// vector first, then those between vectors, two at a time.
#include <cmath>

#include "kernels/simd/vector.h"

namespace octet::kernels::simd {
namespace {

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

/// One step of distance h >= a vector over a block, of vectors that `read` gives, times scale.
template <class Arch, class Read>
void hadamard_step(float* x, int64_t block, int64_t h, typename Vector<Arch>::type scale,
                   const Read& read) {
  using V = Vector<Arch>;
  for (int64_t i = 0; i < block; i += 2 * h)
    for (int64_t j = i; j < i + h; j += V::size) {
      const auto a = read(x + j), b = read(x + j + h);
      V::store(x + j, (a + b) * scale);
      V::store(x + j + h, (a - b) * scale);
    }
}

/// The steps of distance h and 2 h. scaled: times scale.
template <class Arch, bool scaled, class Read>
void hadamard_two_steps(float* x, int64_t block, int64_t h, typename Vector<Arch>::type scale,
                        const Read& read) {
  using V = Vector<Arch>;
  const auto write = [&](float* to, typename V::type v) { V::store(to, scaled ? v * scale : v); };
  for (int64_t i = 0; i < block; i += 4 * h)
    for (int64_t j = i; j < i + h; j += V::size) {
      const auto a = read(x + j), b = read(x + j + h);
      const auto c = read(x + j + 2 * h), d = read(x + j + 3 * h);
      const auto ab = a + b, a_b = a - b, cd = c + d, c_d = c - d;
      write(x + j, ab + cd);
      write(x + j + h, a_b + c_d);
      write(x + j + 2 * h, ab - cd);
      write(x + j + 3 * h, a_b - c_d);
    }
}

template <class Arch>
void hadamard(float* x, int64_t n, int64_t block) {
  using V = Vector<Arch>;
  const typename V::type scale(static_cast<float>(1 / std::sqrt(static_cast<double>(block))));
  if (block <= V::size)
    return each_vector<Arch>(n, [&](int64_t i, int64_t count) {
      store<Arch>(x + i, hadamard_in_vector<Arch>(load<Arch>(x + i, count), block) * scale, count);
    });
  const auto plain = [](const float* p) { return V::load(p); };
  const auto steps = [&](float* values, int64_t h, const auto& read) {
    if (2 * h == block)
      hadamard_step<Arch>(values, block, h, scale, read);
    else if (4 * h == block)
      hadamard_two_steps<Arch, true>(values, block, h, scale, read);
    else
      hadamard_two_steps<Arch, false>(values, block, h, scale, read);
  };
  for (int64_t begin = 0; begin < n; begin += block) {
    // The first steps between vectors take them as the steps within them leave them.
    steps(x + begin, V::size,
          [](const float* p) { return hadamard_in_vector<Arch>(V::load(p), V::size); });
    for (int64_t h = 4 * V::size; h < block; h *= 4) steps(x + begin, h, plain);
  }
}

}  // namespace
}  // namespace octet::kernels::simd

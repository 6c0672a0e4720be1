#pragma once
// Causal attention over blocks of 64 cached positions (kernels/types.h), for any vector width.
// A block's fp16 keys and values are converted once and then serve all rows. Every row goes
// through the same instructions whatever the number of rows.
#include <cmath>

#include "kernels/simd/vector.h"
#include "kernels/types.h"

namespace octet::kernels::simd {

/// Running state of one row.
struct RowState {
  float max;
  float sum;
};

/// scores[j] = (q . keys[j]) * scale for j < count; returns the largest.
template <class Arch>
float score_block(const float* q, const float* keys, int64_t head_dim, float scale, int64_t count,
                  float* scores) {
  using V = Vector<Arch>;
  constexpr int64_t keys_at_once = 4;
  float max = -INFINITY;
  for (int64_t j = 0; j < count; j += keys_at_once) {
    // Past the count, the last key is taken again: no read beyond what is written.
    const float* key[keys_at_once];
    for (int64_t i = 0; i < keys_at_once; ++i)
      key[i] = keys + (j + i < count ? j + i : count - 1) * head_dim;
    typename V::type sum[keys_at_once] = {0.0f, 0.0f, 0.0f, 0.0f};
    each_vector<Arch>(head_dim, [&](int64_t d, int64_t n) {
      const auto query = load<Arch>(q + d, n);
      for (int64_t i = 0; i < keys_at_once; ++i)
        sum[i] = xsimd::fma(query, load<Arch>(key[i] + d, n), sum[i]);
    });
    for (int64_t i = 0; i < keys_at_once && j + i < count; ++i) {
      scores[j + i] = V::sum(sum[i]) * scale;
      max = scores[j + i] > max ? scores[j + i] : max;
    }
  }
  return max;
}

/// scores[j] = exp(scores[j] - max); returns their sum.
template <class Arch>
float exponentials(float* scores, int64_t count, float max) {
  using V = Vector<Arch>;
  typename V::type sum(0.0f);
  each_vector<Arch>(count, [&](int64_t j, int64_t n) {
    const auto weight = xsimd::exp(load<Arch>(scores + j, n, -INFINITY) - typename V::type(max));
    sum += weight;
    store<Arch>(scores + j, weight, n);
  });
  return V::sum(sum);
}

/// out = out * correction + sum over j of weights[j] values[j].
template <class Arch>
void add_values(const float* weights, const float* values, int64_t head_dim, int64_t count,
                float correction, float* out) {
  using V = Vector<Arch>;
  using Batch = typename V::type;
  constexpr int64_t width = 4;
  int64_t d = 0;
  for (; d + width * V::size <= head_dim; d += width * V::size) {
    Batch sum[width];
    for (int64_t i = 0; i < width; ++i) sum[i] = V::load(out + d + i * V::size) * Batch(correction);
    for (int64_t j = 0; j < count; ++j) {
      const Batch weight(weights[j]);
      const float* value = values + j * head_dim + d;
      for (int64_t i = 0; i < width; ++i)
        sum[i] = xsimd::fma(weight, V::load(value + i * V::size), sum[i]);
    }
    for (int64_t i = 0; i < width; ++i) V::store(out + d + i * V::size, sum[i]);
  }
  each_vector<Arch>(head_dim - d, [&](int64_t i, int64_t n) {
    Batch sum = load<Arch>(out + d + i, n) * Batch(correction);
    for (int64_t j = 0; j < count; ++j)
      sum = xsimd::fma(Batch(weights[j]), load<Arch>(values + j * head_dim + d + i, n), sum);
    store<Arch>(out + d + i, sum, n);
  });
}

template <class Arch>
void attend_block(const Attention& a, int64_t row, int64_t count, const float* keys,
                  const float* values, float* scores, RowState& state) {
  const float block_max =
      score_block<Arch>(a.q + row * a.q_stride, keys, a.head_dim, a.scale, count, scores);
  const float max = block_max > state.max ? block_max : state.max;
  const float correction = std::exp(state.max - max);
  state.max = max;
  state.sum = state.sum * correction + exponentials<Arch>(scores, count, max);
  add_values<Arch>(scores, values, a.head_dim, count, correction, a.out + row * a.out_stride);
}

/// The block's first `count` positions as fp32: where they are, or converted to `buffer`.
template <class Arch>
const float* as_f32(const float* block, int64_t, float*) {
  return block;
}
template <class Arch>
const float* as_f32(const uint16_t* block, int64_t values, float* buffer) {
  each_vector<Arch>(
      values, [&](int64_t i, int64_t n) { store<Arch>(buffer + i, load<Arch>(block + i, n), n); });
  return buffer;
}

template <class Arch, class Cached>
void attention(const Attention& a) {
  float* const key_buffer = a.scratch;
  float* const value_buffer = key_buffer + kv_block * a.head_dim;
  float* const scores = value_buffer + kv_block * a.head_dim;  // one row's at a time
  auto* const states = reinterpret_cast<RowState*>(scores + kv_block);
  int64_t longest = 0;
  for (int64_t row = 0; row < a.rows; ++row) {
    states[row] = {-INFINITY, 0};
    longest = a.length[row] > longest ? a.length[row] : longest;
    for (int64_t d = 0; d < a.head_dim; ++d) a.out[row * a.out_stride + d] = 0;
  }
  for (int64_t first = 0; first < longest; first += kv_block) {
    const int64_t left = longest - first, filled = left < kv_block ? left : kv_block;
    const auto block = first / kv_block;
    const float* keys = as_f32<Arch>(static_cast<const Cached*>(a.k_blocks[block]),
                                     filled * a.head_dim, key_buffer);
    const float* values = as_f32<Arch>(static_cast<const Cached*>(a.v_blocks[block]),
                                       filled * a.head_dim, value_buffer);
    for (int64_t row = 0; row < a.rows; ++row) {
      const int64_t seen = a.length[row] - first, count = seen < kv_block ? seen : kv_block;
      if (count > 0) attend_block<Arch>(a, row, count, keys, values, scores, states[row]);
    }
  }
  using Batch = typename Vector<Arch>::type;
  for (int64_t row = 0; row < a.rows; ++row) {
    float* out = a.out + row * a.out_stride;
    const Batch inverse(1.0f / states[row].sum);
    each_vector<Arch>(a.head_dim, [&](int64_t d, int64_t n) {
      store<Arch>(out + d, load<Arch>(out + d, n) * inverse, n);
    });
  }
}

}  // namespace octet::kernels::simd

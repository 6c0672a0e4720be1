// The definition of attention: kernels/types.h, span by span, a row at a time.
#include <cmath>
#include <concepts>

#include "kernels/quantize_groups.h"
#include "kernels/ref/half.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// Of k_blocks or v_blocks.
int64_t block_of(const Attention& a, int64_t position) {
  return (position - a.first) / kv_block;
}

float value_of(float value) {
  return value;
}
float value_of(uint16_t half) {
  return ref::float_of_half(half);
}

/// Multiplies a partial result's out and sum by exp(max - new_max).
void lower(float* partial, int64_t head_dim, float new_max) {
  float& max = partial[head_dim];
  const float factor = max == new_max ? 1.0f : std::exp(max - new_max);
  max = new_max;
  for (int64_t d = 0; d < head_dim; ++d) partial[d] *= factor;
  partial[head_dim + 1] *= factor;
}

/// Scores of positions [first, first + count); returns the largest.
template <class Cached>
float score(const Attention& a, const float* q, int64_t first, int64_t count, float* scores) {
  float max = -INFINITY;
  for (int64_t j = 0; j < count; ++j) {
    const int64_t position = first + j;
    const auto* keys = static_cast<const Cached*>(a.k_blocks[block_of(a, position)]);
    float sum = 0;
    for (int64_t d = 0; d < a.head_dim; ++d)
      sum = std::fma(q[d], value_of(keys[d * kv_block + position % kv_block]), sum);
    scores[j] = sum * a.scale;
    max = scores[j] > max ? scores[j] : max;
  }
  return max;
}

template <class T>
concept Integer = std::same_as<T, int8_t> || std::same_as<T, int16_t>;

/// A block's integer keys or values, in groups (kernels/types.h): value `i` of output `lane`.
template <Integer T>
int32_t value_of(const void* block, int64_t lanes, int64_t i, int64_t lane) {
  constexpr int64_t group = 4 / int64_t{sizeof(T)};
  return static_cast<const T*>(block)[(i / group * lanes + lane) * group + i % group];
}
template <Integer T>
float scale_of(const void* block, int64_t head_dim, int64_t position) {
  const auto* scales = static_cast<const T*>(block) + kv_scales(head_dim);
  return reinterpret_cast<const float*>(scales)[position];
}
/// The query quantized as the cache is, at `to`; its scale, NaN if it is not finite.
template <Integer T>
float quantize_query(const float* q, int64_t head_dim, T* to) {
  float scale = 0;
  bool finite;
  if constexpr (sizeof(T) == 1)
    finite = quantize_f32_s8_ref({head_dim, q, to, &scale, 0});
  else
    finite = quantize_f32_s16_ref({head_dim, q, to, &scale});
  return finite ? scale : NAN;
}

template <Integer T>
float score(const Attention& a, const float* q, int64_t first, int64_t count, float* scores) {
  auto* query = reinterpret_cast<T*>(scores + kv_span);
  const float q_scale = quantize_query(q, a.head_dim, query);
  const int64_t part = sizeof(T) == 1 ? a.head_dim : kv_s16_part;
  float max = -INFINITY;
  for (int64_t j = 0; j < count; ++j) {
    const void* keys = a.k_blocks[block_of(a, first + j)];
    const int64_t position = (first + j) % kv_block;
    float product = 0;
    for (int64_t begin = 0; begin < a.head_dim; begin += part) {
      int32_t sum = 0;
      for (int64_t d = begin; d < a.head_dim && d < begin + part; ++d)
        sum += query[d] * value_of<T>(keys, kv_block, d, position);
      product += static_cast<float>(sum);
    }
    scores[j] = product * (scale_of<T>(keys, a.head_dim, position) * (q_scale * a.scale));
    max = scores[j] > max ? scores[j] : max;
  }
  return max;
}

/// Dimension d of the sum of weights[j] v_j over positions [first, first + count).
template <class Cached>
float weighted_sum(const Attention& a, const float* weights, int64_t first, int64_t count,
                   int64_t d) {
  float out = 0;
  for (int64_t j = 0; j < count; ++j) {
    const int64_t position = first + j;
    const auto* values = static_cast<const Cached*>(a.v_blocks[block_of(a, position)]);
    out = std::fma(weights[j], value_of(values[position % kv_block * a.head_dim + d]), out);
  }
  return out;
}

template <Integer T>
float weighted_sum(const Attention& a, const float* weights, int64_t first, int64_t count,
                   int64_t d) {
  constexpr float levels = sizeof(T) == 1 ? 255 : kv_s16_levels;
  float out = 0;
  for (int64_t begin = 0; begin < count; begin += kv_block) {
    const void* values = a.v_blocks[block_of(a, first + begin)];
    const int64_t positions = count - begin < kv_block ? count - begin : kv_block;
    float product[kv_block], largest = 0;
    for (int64_t j = 0; j < positions; ++j) {
      product[j] = weights[begin + j] * scale_of<T>(values, a.head_dim, j);
      largest = product[j] > largest ? product[j] : largest;
    }
    const QuantizeScale s = quantize_scale(largest, levels);
    if (s.scale == 0) continue;  // nothing in the block, or NaN, which the row's sum is too
    int32_t sum = 0;
    for (int64_t j = 0; j < positions; ++j)
      sum += static_cast<int32_t>(std::rint(product[j] * s.inverse)) *
             value_of<T>(values, padded_n(a.head_dim), j, d);
    out = std::fma(static_cast<float>(sum), s.scale, out);
  }
  return out;
}

/// Merges the span of `count` positions from `first` on into a row's partial result.
template <class Cached>
void attend_span(const Attention& a, const float* q, int64_t first, int64_t count, float* partial) {
  float* scores = a.scratch;
  const float span_max = score<Cached>(a, q, first, count, scores);
  const float old_max = partial[a.head_dim], max = span_max > old_max ? span_max : old_max;
  lower(partial, a.head_dim, max);
  const float factor = span_max == max ? 1.0f : std::exp(span_max - max);
  float sum = 0;
  for (int64_t j = 0; j < count; ++j) sum += scores[j] = std::exp(scores[j] - span_max);
  partial[a.head_dim + 1] += sum * factor;
  for (int64_t d = 0; d < a.head_dim; ++d)
    partial[d] = std::fma(weighted_sum<Cached>(a, scores, first, count, d), factor, partial[d]);
}

template <class Cached>
void attend(const Attention& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    float* partial = a.partial + row * attention_partial(a.head_dim);
    for (int64_t d = 0; d < a.head_dim; ++d) partial[d] = 0;
    partial[a.head_dim] = -INFINITY;
    partial[a.head_dim + 1] = 0;
    const int64_t end = a.length[row] < a.end ? a.length[row] : a.end;
    for (int64_t first = a.first; first < end; first += kv_span)
      attend_span<Cached>(a, a.q + row * a.q_stride, first,
                          end - first < kv_span ? end - first : kv_span, partial);
  }
}

}  // namespace

void attention_f32_ref(const Attention& a) {
  attend<float>(a);
}

void attention_f16_ref(const Attention& a) {
  attend<uint16_t>(a);
}

void attention_s8_ref(const Attention& a) {
  attend<int8_t>(a);
}

void attention_s16_ref(const Attention& a) {
  attend<int16_t>(a);
}

void attention_merge_f32_ref(const AttentionMerge& m) {
  for (int64_t row = 0; row < m.rows; ++row) {
    float* out = m.out + row * m.out_stride;
    float max = -INFINITY, sum = 0;
    for (int64_t d = 0; d < m.head_dim; ++d) out[d] = 0;
    for (int64_t part = 0; part < m.parts; ++part) {
      const float* from = m.partial + part * m.part_stride + row * attention_partial(m.head_dim);
      const float part_max = from[m.head_dim], new_max = part_max > max ? part_max : max;
      const float old = max == new_max ? 1.0f : std::exp(max - new_max);
      const float added = part_max == new_max ? 1.0f : std::exp(part_max - new_max);
      max = new_max;
      sum = sum * old + from[m.head_dim + 1] * added;
      for (int64_t d = 0; d < m.head_dim; ++d) out[d] = std::fma(from[d], added, out[d] * old);
    }
    for (int64_t d = 0; d < m.head_dim; ++d) out[d] /= sum;
  }
}

}  // namespace octet::kernels

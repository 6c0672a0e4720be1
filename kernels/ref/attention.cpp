// The definition of attention: kernels/types.h, span by span, a row at a time.
#include <cmath>

#include "kernels/ref/half.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

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
    const auto* keys = static_cast<const Cached*>(a.k_blocks[position / kv_block]);
    float sum = 0;
    for (int64_t d = 0; d < a.head_dim; ++d)
      sum = std::fma(q[d], value_of(keys[d * kv_block + position % kv_block]), sum);
    scores[j] = sum * a.scale;
    max = scores[j] > max ? scores[j] : max;
  }
  return max;
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
  for (int64_t d = 0; d < a.head_dim; ++d) {
    float out = 0;
    for (int64_t j = 0; j < count; ++j) {
      const int64_t position = first + j;
      const auto* values = static_cast<const Cached*>(a.v_blocks[position / kv_block]);
      out = std::fma(scores[j], value_of(values[position % kv_block * a.head_dim + d]), out);
    }
    partial[d] = std::fma(out, factor, partial[d]);
  }
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

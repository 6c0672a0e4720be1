// The definition of attention: kernels/types.h, block by block, a row at a time.
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

/// Scores of a block's first `count` keys; returns the largest.
template <class Cached>
float score_block(const float* q, const Cached* keys, int64_t head_dim, float scale, int64_t count,
                  float* scores) {
  float max = -INFINITY;
  for (int64_t j = 0; j < count; ++j) {
    float sum = 0;
    for (int64_t d = 0; d < head_dim; ++d) sum += q[d] * value_of(keys[j * head_dim + d]);
    scores[j] = sum * scale;
    max = scores[j] > max ? scores[j] : max;
  }
  return max;
}

template <class Cached>
void attend_row(const Attention& a, int64_t row) {
  const float* q = a.q + row * a.q_stride;
  float* out = a.out + row * a.out_stride;
  float* scores = a.scratch;
  float max = -INFINITY, sum = 0;
  for (int64_t d = 0; d < a.head_dim; ++d) out[d] = 0;
  for (int64_t first = 0; first < a.length[row]; first += kv_block) {
    const auto* keys = static_cast<const Cached*>(a.k_blocks[first / kv_block]);
    const auto* values = static_cast<const Cached*>(a.v_blocks[first / kv_block]);
    const int64_t left = a.length[row] - first, count = left < kv_block ? left : kv_block;
    const float block_max = score_block(q, keys, a.head_dim, a.scale, count, scores);
    const float new_max = block_max > max ? block_max : max;
    const float correction = std::exp(max - new_max);
    max = new_max;
    sum *= correction;
    for (int64_t d = 0; d < a.head_dim; ++d) out[d] *= correction;
    for (int64_t j = 0; j < count; ++j) {
      const float weight = std::exp(scores[j] - max);
      sum += weight;
      for (int64_t d = 0; d < a.head_dim; ++d)
        out[d] += weight * value_of(values[j * a.head_dim + d]);
    }
  }
  for (int64_t d = 0; d < a.head_dim; ++d) out[d] /= sum;
}

}  // namespace

void attention_f32_ref(const Attention& a) {
  for (int64_t row = 0; row < a.rows; ++row) attend_row<float>(a, row);
}

void attention_f16_ref(const Attention& a) {
  for (int64_t row = 0; row < a.rows; ++row) attend_row<uint16_t>(a, row);
}

}  // namespace octet::kernels

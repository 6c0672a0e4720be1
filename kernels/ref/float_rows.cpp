// The definition of the operations on rows of fp32 and fp16: kernels/types.h, written as plain
// loops. Sums are taken in double, so that a variant's own error shows against them.
#include <cmath>

#include "kernels/ref/half.h"
#include "kernels/table.h"

namespace octet::kernels {

using ref::float_of_half;
using ref::half_of_float;

void rms_norm_f32_ref(const float* x, const float* w, float* y, int64_t n, float eps) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double{x[i]} * x[i];
  const auto root = static_cast<float>(std::sqrt(sum / static_cast<double>(n) + eps));
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] / root * w[i];
}

void softmax_f32_ref(const float* x, float* y, int64_t n) {
  float max = -INFINITY;
  for (int64_t i = 0; i < n; ++i) max = x[i] > max ? x[i] : max;
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    y[i] = std::exp(x[i] - max);
    sum += y[i];
  }
  const auto inverse = static_cast<float>(1 / sum);
  for (int64_t i = 0; i < n; ++i) y[i] *= inverse;
}

void silu_mul_f32_ref(const float* gate, const float* up, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
}

void hadamard_f32_ref(float* x, int64_t n, int64_t block) {
  for (int64_t h = 1; h < block; h *= 2)
    for (int64_t i = 0; i < n; ++i) {
      if (i & h) continue;
      const float a = x[i], b = x[i + h];
      x[i] = a + b;
      x[i + h] = a - b;
    }
  const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(block)));
  for (int64_t i = 0; i < n; ++i) x[i] *= scale;
}

void rope_f32_ref(float* x, const float* cos, const float* sin, int64_t head_dim) {
  const int64_t half = head_dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i], b = x[i + half];
    x[i] = a * cos[i] - b * sin[i];
    x[i + half] = b * cos[i] + a * sin[i];
  }
}

void add_f32_ref(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}

float dot_f32_ref(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double{a[i]} * b[i];
  return static_cast<float>(sum);
}

float dot_f16_f32_ref(const uint16_t* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double{float_of_half(a[i])} * b[i];
  return static_cast<float>(sum);
}

void low_rank_f16_f32_ref(const LowRank& l) {
  for (int64_t c = 0; c < l.n; ++c) {
    double sum = l.y[c];
    for (int64_t j = 0; j < l.rank; ++j)
      sum += double{l.t[j]} * float_of_half(l.w[(c / tile_n * l.rank + j) * tile_n + c % tile_n]);
    l.y[c] = static_cast<float>(sum);
  }
}

void project_f16_f32_ref(const Project& p) {
  for (int64_t j = 0; j < project_rows; ++j) {
    double sum = 0;
    for (int64_t i = 0; i < p.k; ++i)
      sum += double{float_of_half(p.w[(i / tile_n * project_rows + j) * tile_n + i % tile_n])} *
             p.x[i];
    p.t[j] = static_cast<float>(sum);
  }
}

void convert_f32_f16_ref(const float* x, uint16_t* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = half_of_float(x[i]);
}

void convert_f16_f32_ref(const uint16_t* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = float_of_half(x[i]);
}

}  // namespace octet::kernels

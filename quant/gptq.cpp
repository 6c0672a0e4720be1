#include "quant/gptq.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>

#include "kernels/types.h"
#include "quant/quantize.h"

namespace octet::quant {
namespace {

using kernels::group_size;

/// Columns that are rounded one after another, before their errors reach the columns behind them
/// in one matrix multiplication.
constexpr int64_t block_size = group_size;

/// Scales that are tried, as shares of absmax / 127.
constexpr float clips[] = {1.0f, 0.975f, 0.95f, 0.925f, 0.9f, 0.85f, 0.8f, 0.7f};

int blas(int64_t value) {
  return static_cast<int>(value);
}

/// rint(w / scale) within [-127, 127]; 0 for scale 0.
float rounded(float w, float inverse) {
  return std::min(std::max(std::nearbyintf(w * inverse), -127.0f), 127.0f);
}

float inverse_of(float scale) {
  const float inverse = 1.0f / scale;
  return std::isfinite(inverse) ? inverse : 0.0f;  // a row (or group) too small to tell from zeros
}

/// The scale of `count` weights.
float best_scale(const float* w, int64_t count, const float* importance) {
  float absmax = 0;
  for (int64_t i = 0; i < count; ++i) absmax = std::max(absmax, std::abs(w[i]));
  float best = absmax / 127.0f;
  float least = INFINITY;
  for (float clip : clips) {
    const float scale = clip * (absmax / 127.0f), inverse = inverse_of(scale);
    float loss = 0;
    for (int64_t i = 0; i < count; ++i) {
      const float error = w[i] - scale * rounded(w[i], inverse);
      loss += importance[i] * error * error;
    }
    if (loss < least) least = loss, best = scale;
  }
  return best;
}

/// Rounds rows; scale_of(row, column) is asked at each block's beginning.
template <class ScaleOf>
void round_all(const float* w, int64_t rows, int64_t k, const Feedback& feedback, int8_t* q,
               ScaleOf scale_of) {
  const float* upper = feedback.upper.data();
  std::vector<float> error(static_cast<size_t>(rows * k));            // e [rows, k]
  std::vector<float> target(static_cast<size_t>(rows * block_size));  // w + e U, a block of columns
  for (int64_t begin = 0; begin < k; begin += block_size) {
    const int64_t width = std::min(block_size, k - begin);
    for (int64_t row = 0; row < rows; ++row)
      std::copy_n(w + row * k + begin, width, target.data() + row * block_size);
    if (begin > 0)
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, blas(rows), blas(width), blas(begin),
                  1.0f, error.data(), blas(k), upper + begin, blas(k), 1.0f, target.data(),
                  blas(block_size));
    for (int64_t row = 0; row < rows; ++row) {
      float* const t = target.data() + row * block_size;
      const float scale = scale_of(row, begin), inverse = inverse_of(scale);
      for (int64_t i = 0; i < width; ++i) {
        const int64_t at = row * k + begin + i;
        const float value = rounded(t[i], inverse);
        q[at] = static_cast<int8_t>(value);
        const float e = w[at] - scale * value;
        error[static_cast<size_t>(at)] = e;
        const float* u = upper + (begin + i) * k + begin;
        for (int64_t j = i + 1; j < width; ++j) t[j] += e * u[j];
      }
    }
  }
}

}  // namespace

void round_rows(const float* w, int64_t rows, int64_t k, const Feedback& feedback, int8_t* q,
                float* scale) {
  for (int64_t row = 0; row < rows; ++row)
    scale[row] = best_scale(w + row * k, k, feedback.importance.data());
  round_all(w, rows, k, feedback, q, [&](int64_t row, int64_t) { return scale[row]; });
}

void round_rows_grouped(const float* w, int64_t rows, int64_t k, const Feedback& feedback,
                        int8_t* q, uint16_t* scale) {
  static_assert(block_size == group_size);
  const int64_t groups = kernels::num_groups(k);
  round_all(w, rows, k, feedback, q, [&](int64_t row, int64_t begin) {
    const float best = best_scale(w + row * k + begin, std::min(group_size, k - begin),
                                  feedback.importance.data() + begin);
    uint16_t& stored = scale[row * groups + begin / group_size];
    stored = bfloat16_up(best);
    return bfloat16_value(stored);
  });
}

}  // namespace octet::quant

#include "lib/convert/moments.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>

namespace octet {
namespace {

/// Rows and columns of a tile, the unit of work.
constexpr int64_t tile = 256;
constexpr float damping = 0.01f;

int blas(int64_t value) {
  return static_cast<int>(value);
}

/// a [n, n], rows k apart, positive definite -> R with a = R R^T, R upper triangular, in place, for
/// one tile: columns from the last to the first. Below the diagonal nothing changes.
void factor_tile(float* a, int64_t n, int64_t k) {
  for (int64_t j = n - 1; j >= 0; --j)
    for (int64_t i = j; i >= 0; --i) {
      double sum = a[i * k + j];
      for (int64_t m = j + 1; m < n; ++m) sum -= double{a[i * k + m]} * a[j * k + m];
      // Damping keeps the diagonal positive but for rounding.
      a[i * k + j] =
          static_cast<float>(i == j ? std::sqrt(std::max(sum, 1e-30)) : sum / double{a[j * k + j]});
    }
}

}  // namespace

Moments::Moments(int64_t k) : k_(k), h_(static_cast<size_t>(k * k)) {}

void Moments::add(const float* x, int64_t rows, int64_t stride, ThreadPool& pool) {
  const int64_t tiles = (k_ + tile - 1) / tile;
  pool.for_each(tiles * tiles, [&](int64_t item, int) {
    const int64_t i = item / tiles * tile, j = item % tiles * tile;
    if (j < i) return;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, blas(std::min(tile, k_ - i)),
                blas(std::min(tile, k_ - j)), blas(rows), 1.0f, x + i, blas(stride), x + j,
                blas(stride), 1.0f, h_.data() + i * k_ + j, blas(k_));
  });
}

bool Moments::finite() const {
  for (int64_t i = 0; i < k_; ++i)
    if (!std::isfinite(h_[static_cast<size_t>(i * k_ + i)])) return false;
  return true;
}

/// H is symmetric, and R its own inverse: R (S H S) R is the transpose of (S H S) R, times R again.
void Moments::transform(std::span<const float> scale, const quant::Rotation& rotation,
                        ThreadPool& pool) {
  float* const h = h_.data();
  pool.for_each(k_, [&](int64_t i, int) {  // below the diagonal nothing is kept
    for (int64_t j = 0; j < i; ++j) h[i * k_ + j] = h[j * k_ + i];
  });
  pool.for_each(k_, [&](int64_t i, int) {
    for (int64_t j = 0; j < k_; ++j)
      h[i * k_ + j] *= scale[static_cast<size_t>(i)] * scale[static_cast<size_t>(j)];
    rotation.apply(h + i * k_, k_ / rotation.size());
  });
  const int64_t tiles = (k_ + tile - 1) / tile;
  pool.for_each(tiles * tiles, [&](int64_t item, int) {  // transposes
    const int64_t i0 = item / tiles * tile, j0 = item % tiles * tile;
    if (j0 < i0) return;
    for (int64_t i = i0; i < std::min(i0 + tile, k_); ++i)
      for (int64_t j = std::max(j0, i + 1); j < std::min(j0 + tile, k_); ++j)
        std::swap(h[i * k_ + j], h[j * k_ + i]);
  });
  pool.for_each(k_, [&](int64_t i, int) { rotation.apply(h + i * k_, k_ / rotation.size()); });
}

/// Right-looking, from the last tile column to the first: the factor's column of tiles, then what
/// it takes from the tiles to the left.
quant::Feedback Moments::factor(ThreadPool& pool) && {
  quant::Feedback feedback;
  double trace = 0;
  for (int64_t i = 0; i < k_; ++i) {
    feedback.importance.push_back(h_[static_cast<size_t>(i * k_ + i)]);
    trace += feedback.importance.back();
  }
  const float added =
      trace > 0 ? damping * static_cast<float>(trace / static_cast<double>(k_)) : 1.0f;
  for (int64_t i = 0; i < k_; ++i) h_[static_cast<size_t>(i * k_ + i)] += added;

  float* const r = h_.data();
  for (int64_t j = (k_ - 1) / tile * tile; j >= 0; j -= tile) {
    const int64_t width = std::min(tile, k_ - j);
    factor_tile(r + j * k_ + j, width, k_);
    const auto above = [&](int64_t item) { return r + item * tile * k_ + j; };
    pool.for_each(j / tile, [&](int64_t item, int) {
      cblas_strsm(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, blas(tile),
                  blas(width), 1.0f, r + j * k_ + j, blas(k_), above(item), blas(k_));
    });
    pool.for_each(j / tile, [&](int64_t item, int) {
      const int64_t left = item * tile;
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, blas(tile), blas(j - left), blas(width),
                  -1.0f, above(item), blas(k_), r + left * k_ + j, blas(k_), 1.0f,
                  r + left * k_ + left, blas(k_));
    });
  }
  // R = U D^(1/2)
  std::vector<float> inverse(static_cast<size_t>(k_));
  for (int64_t i = 0; i < k_; ++i) inverse[static_cast<size_t>(i)] = 1.0f / r[i * k_ + i];
  pool.for_each(k_, [&](int64_t i, int) {
    for (int64_t j = i; j < k_; ++j) r[i * k_ + j] *= inverse[static_cast<size_t>(j)];
  });
  feedback.upper = std::move(h_);
  return feedback;
}

}  // namespace octet

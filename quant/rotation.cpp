#include "quant/rotation.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace octet::quant {
namespace {

constexpr int64_t max_odd = 255;
/// Columns that are copied together: a cache line of each row.
constexpr int64_t strip = 16;

}  // namespace

Rotation::Rotation(int64_t size, kernels::HadamardFunction hadamard)
    : size_(size),
      odd_(size / power_of_two_in(size)),
      power_(power_of_two_in(size)),
      hadamard_(hadamard) {
  if (odd_ > max_odd) odd_ = 1;
  for (int64_t i = 0; i < odd_; ++i)
    for (int64_t j = 0; j < odd_; ++j) {
      const double angle =
          2 * std::numbers::pi * static_cast<double>(i * j % odd_) / static_cast<double>(odd_);
      mix_.push_back(static_cast<float>((std::cos(angle) + std::sin(angle)) /
                                        std::sqrt(static_cast<double>(odd_))));
    }
}

void Rotation::apply(float* x, int64_t count) const {
  hadamard_(x, count * size_, power_);
  if (odd_ == 1) return;
  std::vector<float> mixed(static_cast<size_t>(size_));
  for (float* const end = x + count * size_; x != end; x += size_) {
    std::fill(mixed.begin(), mixed.end(), 0.0f);
    for (int64_t i = 0; i < odd_; ++i)
      for (int64_t j = 0; j < odd_; ++j) {
        const float factor = mix_[static_cast<size_t>(i * odd_ + j)];
        for (int64_t k = 0; k < power_; ++k)
          mixed[static_cast<size_t>(i * power_ + k)] += factor * x[j * power_ + k];
      }
    std::copy(mixed.begin(), mixed.end(), x);
  }
}

void Rotation::apply_to_columns(float* w, int64_t stride, int64_t begin, int64_t end) const {
  std::vector<float> columns(static_cast<size_t>(size_ * strip));
  for (; begin < end; begin += strip) {
    const int64_t count = std::min(strip, end - begin);
    for (int64_t row = 0; row < size_; ++row)
      for (int64_t c = 0; c < count; ++c)
        columns[static_cast<size_t>(c * size_ + row)] = w[row * stride + begin + c];
    apply(columns.data(), count);
    for (int64_t row = 0; row < size_; ++row)
      for (int64_t c = 0; c < count; ++c)
        w[row * stride + begin + c] = columns[static_cast<size_t>(c * size_ + row)];
  }
}

}  // namespace octet::quant

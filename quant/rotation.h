#pragma once
// Orthogonal matrices that spread outliers over all channels, to be folded into weights (QuaRot,
// Ashkboos et al. 2024, arXiv:2404.00456).
#include <cstdint>
#include <vector>

#include "kernels/types.h"

namespace octet::quant {

/// A symmetric orthogonal matrix R [size, size], so R R = 1: for size = m p, p the largest power of
/// two in it,
///   R = C (x) H,  C [m, m]: C_ij = (cos(2 pi i j / m) + sin(2 pi i j / m)) / sqrt(m) (Hartley
///   1942),
///                 H [p, p]: Sylvester's Hadamard matrix / sqrt(p).
/// All magnitudes are at most sqrt(2 / size). An m above 255 is left out (C = 1): blocks of p.
class Rotation {
 public:
  /// hadamard: the kernel to use; all variants give the same bits.
  Rotation(int64_t size, kernels::HadamardFunction hadamard);

  int64_t size() const { return size_; }

  /// Each run of `size` values times R, in place. x [count * size].
  void apply(float* x, int64_t count) const;
  /// Columns [begin, end) of w times R, in place: w[0 : size][c] = R w[:][c]; rows `stride` apart.
  void apply_to_columns(float* w, int64_t stride, int64_t begin, int64_t end) const;

 private:
  int64_t size_, odd_, power_;
  std::vector<float> mix_;  // C
  kernels::HadamardFunction hadamard_;
};

/// The largest power of two that divides n.
constexpr int64_t power_of_two_in(int64_t n) {
  return n & -n;
}

}  // namespace octet::quant

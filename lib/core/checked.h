#pragma once
// Arithmetic on sizes that come from a file: every function returns false on overflow.
#include <cstddef>
#include <cstdint>
#include <span>

namespace octet {

[[nodiscard]] inline bool checked_add(uint64_t a, uint64_t b, uint64_t& out) {
  return !__builtin_add_overflow(a, b, &out);
}

[[nodiscard]] inline bool checked_mul(uint64_t a, uint64_t b, uint64_t& out) {
  return !__builtin_mul_overflow(a, b, &out);
}

/// The product of the extents; 1 for rank 0.
[[nodiscard]] inline bool checked_product(std::span<const uint64_t> extents, uint64_t& out) {
  out = 1;
  bool zero = false, fits = true;
  for (uint64_t extent : extents) {
    if (extent == 0) zero = true;
    fits = fits && checked_mul(out, extent, out);
  }
  if (zero) out = 0;
  return fits || zero;
}

}  // namespace octet

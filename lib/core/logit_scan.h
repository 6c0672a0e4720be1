#pragma once
// Searching many logits for those above a floor, which few are.
#include <cstddef>

namespace octet {

/// Logits that any_above() looks at.
inline constexpr size_t logit_block = 16;

/// Whether one of a block of logits is above floor, or NaN. Without a branch, so that the compiler
/// vectorizes it.
inline bool any_above(const float* logits, float floor) {
  int above = 0;
  for (size_t i = 0; i < logit_block; ++i) above |= !(logits[i] <= floor);
  return above != 0;
}

}  // namespace octet

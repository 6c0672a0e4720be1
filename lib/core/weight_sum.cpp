#include "lib/core/weight_sum.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

namespace octet {
namespace {

/// Logits at a time, each of a sum of its own: what every x86-64 and 64-bit ARM has registers for.
constexpr size_t lanes = 4;
using Floats [[gnu::vector_size(sizeof(float) * lanes)]] = float;
using Words [[gnu::vector_size(sizeof(float) * lanes)]] = uint32_t;
/// Blocks whose sums are added up in fp32: more would cost accuracy.
constexpr size_t blocks = 64;
/// What is smaller does not count beside a sum of 1: 2^31 of them are 1e-25.
constexpr float least = -80;

/// e^x, x from `least` to 0: 2^n e^r with |r| <= ln(2) / 2, e^r by Taylor's series (rest:
/// r^7 / 7! < 1.3e-7).
inline Floats exponential(const Floats& x) {
  constexpr float to_integer = 12582912;  // 1.5 * 2^23: adding it leaves no bits for a fraction
  const Floats shifted = x * 1.44269504f + to_integer;
  const Floats n = shifted - to_integer;
  // ln(2) in two parts, of which the first times n is exact.
  const Floats r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Floats series = r * (1 / 720.0f) + 1 / 120.0f;
  for (const float coefficient : {1 / 24.0f, 1 / 6.0f, 0.5f, 1.0f, 1.0f})
    series = series * r + coefficient;
  // The lowest bits of `shifted` are n; moved to the exponent's place, they make 2^n.
  return series * (Floats)(((Words)shifted << 23) + 0x3f800000u);
}

/// sums += the weights of one block.
inline void add_block(const float* logits, float best, float scale, Floats& sums) {
  Floats x;
  std::memcpy(&x, logits, sizeof x);
  x = (x - best) * scale;
  sums += exponential(x > least ? x : Floats{} + least);
}

double total(const Floats& sums) {
  double total = 0;
  for (size_t i = 0; i < lanes; ++i) total += sums[i];
  return total;
}

}  // namespace

double weight_sum(std::span<const float> logits, float best, float temperature) {
  const float scale = 1 / temperature;
  const size_t whole = logits.size() / lanes * lanes;
  double sum = 0;
  for (size_t begin = 0; begin < whole; begin += lanes * blocks) {
    const size_t end = std::min(whole, begin + lanes * blocks);
    Floats sums{};
    for (size_t i = begin; i < end; i += lanes) add_block(&logits[i], best, scale, sums);
    sum += total(sums);
  }
  float rest[lanes];
  std::fill_n(rest, lanes, -std::numeric_limits<float>::infinity());
  std::copy(logits.begin() + static_cast<std::ptrdiff_t>(whole), logits.end(), rest);
  Floats sums{};
  add_block(rest, best, scale, sums);
  return sum + total(sums);
}

}  // namespace octet

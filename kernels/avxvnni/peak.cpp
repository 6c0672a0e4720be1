// What one thread can do with AVX-VNNI: kernels/types.h.
#include "kernels/avxvnni/dot_product.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// Independent chains: enough to hide the latency of vpdpbusd on two units (Golden Cove: 5 cycles).
constexpr int chains = 12;

using Int32x8 [[gnu::vector_size(32)]] = int32_t;

/// Hides the sums from the compiler, which would run equal chains as one, or none at all.
void hide(Int32x8 (&sums)[chains]) {
  for (Int32x8& sum : sums) asm volatile("" : "+x"(sum));
}

}  // namespace

/// One vpdpbusd for 32 products.
uint64_t peak_int8_avxvnni(uint64_t iterations) {
  Int32x8 acc[chains] = {};
  hide(acc);
  const __m256i a = _mm256_set1_epi8(3), w = _mm256_set1_epi8(-5);
  for (uint64_t i = 0; i < iterations; ++i)
#pragma GCC unroll 12
    for (int j = 0; j < chains; ++j) acc[j] = (Int32x8)dpbusd((__m256i)acc[j], a, w);
  hide(acc);
  return iterations * chains * 32 * 2;
}

}  // namespace octet::kernels

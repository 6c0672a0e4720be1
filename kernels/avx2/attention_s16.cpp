#include "kernels/avx2/attention_s16.h"

namespace octet::kernels {
namespace {

inline __m256i multiply_add(__m256i sum, __m256i a, __m256i b) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

}  // namespace

[[gnu::flatten]] void attention_s16_6x16_avx2(const Attention& a) {
  attention_s16<multiply_add>(a);
}

}  // namespace octet::kernels

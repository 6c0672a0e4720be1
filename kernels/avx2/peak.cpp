// What one thread can do with AVX2: kernels/types.h.
#include <immintrin.h>

#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// Independent chains: enough to hide the latency of a multiply-add on two units, few enough to
/// leave registers for the operands.
constexpr int chains = 10;

/// Hides the values from the compiler, which would run equal chains as one, or none at all.
template <class Register>
void hide(Register (&values)[chains]) {
  for (Register& value : values) asm volatile("" : "+x"(value));
}

}  // namespace

/// The four instructions that the multiplications spend on 32 products of a row: vpsignb,
/// vpmaddubsw, vpmaddwd, vpaddd.
uint64_t peak_int8_avx2(uint64_t iterations) {
  __m256i acc[chains] = {};
  hide(acc);
  __m256i a = _mm256_set1_epi8(3), w = _mm256_set1_epi8(-5), magnitude = _mm256_set1_epi8(5);
  const __m256i ones = _mm256_set1_epi16(1);
  for (uint64_t i = 0; i < iterations; ++i)
#pragma GCC unroll 10
    for (int j = 0; j < chains; ++j) {
      asm volatile("" : "+x"(a));  // a new value for the compiler: the products are not reused
      const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(a, w));
      acc[j] = _mm256_add_epi32(acc[j], _mm256_madd_epi16(pairs, ones));
    }
  hide(acc);
  return iterations * chains * 32 * 2;
}

uint64_t peak_fp32_avx2(uint64_t iterations) {
  __m256 acc[chains] = {};
  hide(acc);
  const __m256 factor = _mm256_set1_ps(0.5f), summand = _mm256_set1_ps(1.0f);
  for (uint64_t i = 0; i < iterations; ++i)
#pragma GCC unroll 10
    for (int j = 0; j < chains; ++j) acc[j] = _mm256_fmadd_ps(acc[j], factor, summand);
  hide(acc);
  return iterations * chains * 8 * 2;
}

/// As read_sum_avx512vnni; half a line at a time.
uint64_t read_sum_avx2(const void* data, uint64_t bytes) {
  const auto* registers = static_cast<const __m256i*>(data);
  const uint64_t stream = bytes / 32 / read_streams;
  __m256i sum[read_streams] = {};
  for (uint64_t i = 0; i < stream; i += 2)
#pragma GCC unroll 4
    for (uint64_t j = 0; j < read_streams; ++j) {
      const __m256i* const at = registers + j * stream + i;
      _mm_prefetch(reinterpret_cast<const char*>(at) + 2048, _MM_HINT_T1);
      sum[j] = _mm256_add_epi64(sum[j], _mm256_load_si256(at));
      sum[j] = _mm256_add_epi64(sum[j], _mm256_load_si256(at + 1));
    }
  for (uint64_t j = 1; j < read_streams; ++j) sum[0] = _mm256_add_epi64(sum[0], sum[j]);
  alignas(32) uint64_t words[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(words), sum[0]);
  return words[0] + words[1] + words[2] + words[3];
}

}  // namespace octet::kernels

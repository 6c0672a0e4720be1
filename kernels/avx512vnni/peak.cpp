// What one thread can do with AVX-512 and VNNI: kernels/types.h.
#include "kernels/avx512vnni/intrinsics.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// Independent chains: enough to hide the latency of a multiply-add on two units.
constexpr int chains = 16;

/// Hides the values from the compiler, which would run equal chains as one, or none at all.
template <class Register>
void hide(Register (&values)[chains]) {
  for (Register& value : values) asm volatile("" : "+v"(value));
}

}  // namespace

/// One vpdpbusd for 64 products.
uint64_t peak_int8_avx512vnni(uint64_t iterations) {
  Int32x16 acc[chains] = {};
  hide(acc);
  const __m512i a = _mm512_set1_epi8(3), w = _mm512_set1_epi8(-5);
  for (uint64_t i = 0; i < iterations; ++i)
#pragma GCC unroll 16
    for (int j = 0; j < chains; ++j) acc[j] = (Int32x16)_mm512_dpbusd_epi32((__m512i)acc[j], a, w);
  hide(acc);
  return iterations * chains * 64 * 2;
}

uint64_t peak_fp32_avx512vnni(uint64_t iterations) {
  __m512 acc[chains] = {};
  hide(acc);
  const __m512 factor = _mm512_set1_ps(0.5f), summand = _mm512_set1_ps(1.0f);
  for (uint64_t i = 0; i < iterations; ++i)
#pragma GCC unroll 16
    for (int j = 0; j < chains; ++j) acc[j] = _mm512_fmadd_ps(acc[j], factor, summand);
  hide(acc);
  return iterations * chains * 16 * 2;
}

/// Each stream asks for its lines 2 KB ahead, into the second level: more are then on their way
/// than the first level has buffers for (one thread of a Zen 4: 26 GB/s, without 19).
uint64_t read_sum_avx512vnni(const void* data, uint64_t bytes) {
  const auto* registers = static_cast<const __m512i*>(data);
  const uint64_t stream = bytes / 64 / read_streams;
  __m512i sum[read_streams] = {};
  for (uint64_t i = 0; i < stream; ++i)
#pragma GCC unroll 4
    for (uint64_t j = 0; j < read_streams; ++j) {
      const __m512i* const at = registers + j * stream + i;
      _mm_prefetch(reinterpret_cast<const char*>(at) + 2048, _MM_HINT_T1);
      sum[j] = _mm512_add_epi64(sum[j], _mm512_load_si512(at));
    }
  for (uint64_t j = 1; j < read_streams; ++j) sum[0] = _mm512_add_epi64(sum[0], sum[j]);
  // Not _mm512_reduce_add_epi64: in GCC it adds signed, and this sum wraps.
  alignas(64) uint64_t words[8];
  _mm512_store_si512(words, sum[0]);
  for (int j = 1; j < 8; ++j) words[0] += words[j];
  return words[0];
}

}  // namespace octet::kernels

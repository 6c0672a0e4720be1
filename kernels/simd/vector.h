#pragma once
// What the simd kernels need beyond xsimd: fp16 loads and stores, partial vectors. Here as in the
// other files of this folder all has internal linkage: each instruction set compiles its own copy.
#if defined(__aarch64__)
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif

#include <cstdint>
#include <xsimd/xsimd.hpp>

namespace octet::kernels::simd {
namespace {

#if defined(__AVX512F__)
/// e^x = 2^n 2^f with n = rint(x / ln 2): 9 multiplications, where xsimd 8.1 takes some 20; the
/// instructions of clamping, rounding and scaling cost none beside them (Zen 4). The polynomial is
/// our own fit of 2^f over [-1/2, 1/2] by least relative error, 2e-9. NaN stays NaN.
inline __m512 exp512(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-110.0f), _mm512_min_ps(_mm512_set1_ps(100.0f), x));
  const __m512 log2_e = _mm512_set1_ps(0x1.715476p+0f), rest = _mm512_set1_ps(0x1.4ae0cp-26f);
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, log2_e), _MM_FROUND_TO_NEAREST_INT);
  const __m512 f = _mm512_fmadd_ps(x, rest, _mm512_fmsub_ps(x, log2_e, n));
  __m512 power = _mm512_set1_ps(0x1.41fbbap-13f);
  for (const float c :
       {0x1.5f3e54p-10f, 0x1.3b2d4cp-7f, 0x1.c6aee8p-5f, 0x1.ebfbdcp-3f, 0x1.62e43p-1f, 1.0f})
    power = _mm512_fmadd_ps(power, f, _mm512_set1_ps(c));
  return _mm512_scalef_ps(power, n);
}
#endif

/// `Arch`'s vector of floats, and conversions from and to as many fp16 values.
template <class Arch>
struct Vector {
  using type = xsimd::batch<float, Arch>;
  static constexpr int64_t size = type::size;

  static type load(const float* p) { return type::load_unaligned(p); }
  static void store(float* p, type v) { v.store_unaligned(p); }
#if defined(__aarch64__)
  static type load(const uint16_t* p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
  }
  static void store(uint16_t* p, type v) {
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)));
  }
  /// a * b + c, rounded once.
  static type fma(type a, type b, type c) {
    return vfmaq_f32(c, a, b);
  }
  static type exp(type x) {
    return xsimd::exp(x);
  }
  /// Lane i gets that of i ^ h; h: a power of two below size.
  template <int h>
  static type exchange(type v) {
    if constexpr (h == 1) return vrev64q_f32(v);
    if constexpr (h == 2) return vextq_f32(v, v, 2);
  }
#else
  static type load(const uint16_t* p) {
    if constexpr (size == 16) {
#if defined(__AVX512F__)
      return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#endif
    } else {
      return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    }
  }
  static void store(uint16_t* p, type v) {
    if constexpr (size == 16) {
#if defined(__AVX512F__)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                          _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#endif
    } else {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                       _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
    }
  }

  /// a * b + c, rounded once. (For AVX-512, xsimd 8.1's own multiplies and then adds.)
  static type fma(type a, type b, type c) {
    if constexpr (size == 16) {
#if defined(__AVX512F__)
      return _mm512_fmadd_ps(a, b, c);
#endif
    } else {
      return _mm256_fmadd_ps(a, b, c);
    }
  }
  /// e^x; on AVX-512 to 1.1 units in the last place.
  static type exp(type x) {
    if constexpr (size == 16) {
#if defined(__AVX512F__)
      return exp512(x);
#endif
    } else {
      return xsimd::exp(x);
    }
  }
  template <int h>
  static type exchange(type v) {
    if constexpr (size == 16) {
#if defined(__AVX512F__)
      if constexpr (h == 1) return _mm512_permute_ps(v, 0xb1);
      if constexpr (h == 2) return _mm512_permute_ps(v, 0x4e);
      if constexpr (h == 4) return _mm512_shuffle_f32x4(v, v, 0xb1);
      if constexpr (h == 8) return _mm512_shuffle_f32x4(v, v, 0x4e);
#endif
    } else {
      if constexpr (h == 1) return _mm256_permute_ps(v, 0xb1);
      if constexpr (h == 2) return _mm256_permute_ps(v, 0x4e);
      if constexpr (h == 4) return _mm256_permute2f128_ps(v, v, 0x01);
    }
  }
#endif

  /// The first `count` < size values, the others `fill`.
  template <class T>
  static type load_part(const T* p, int64_t count, float fill = 0) {
    alignas(64) T values[size] = {};
    for (int64_t i = 0; i < count; ++i) values[i] = p[i];
    type v = load(values);
    if (fill == 0) return v;
    alignas(64) float filled[size];
    store(filled, v);
    for (int64_t i = count; i < size; ++i) filled[i] = fill;
    return load(filled);
  }
  template <class T>
  static void store_part(T* p, type v, int64_t count) {
    alignas(64) T values[size];
    store(values, v);
    for (int64_t i = 0; i < count; ++i) p[i] = values[i];
  }

  static float sum(type v) {
    return xsimd::hadd(v);
  }
  static float max(type v) {
#if defined(__AVX512F__)
    if constexpr (size == 16) return _mm512_reduce_max_ps(v);
#endif
    alignas(64) float values[size];
    store(values, v);
    float result = values[0];
    for (int64_t i = 1; i < size; ++i) result = values[i] > result ? values[i] : result;
    return result;
  }
};

/// Calls f(i, size) for each whole vector of n values, then f(i, count) for the rest.
template <class Arch, class F>
void each_vector(int64_t n, F f) {
  constexpr int64_t size = Vector<Arch>::size;
  int64_t i = 0;
  for (; i + size <= n; i += size) f(i, size);
  if (i < n) f(i, n - i);
}

/// The vector at p, of which `count` values are there.
template <class Arch, class T>
typename Vector<Arch>::type load(const T* p, int64_t count, float fill = 0) {
  return count == Vector<Arch>::size ? Vector<Arch>::load(p)
                                     : Vector<Arch>::load_part(p, count, fill);
}
template <class Arch, class T>
void store(T* p, typename Vector<Arch>::type v, int64_t count) {
  if (count == Vector<Arch>::size)
    Vector<Arch>::store(p, v);
  else
    Vector<Arch>::store_part(p, v, count);
}

}  // namespace
}  // namespace octet::kernels::simd

#pragma once
// What the simd kernels need beyond xsimd: fp16 loads and stores, partial vectors.
#if defined(__aarch64__)
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif

#include <cstdint>
#include <xsimd/xsimd.hpp>

namespace octet::kernels::simd {

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

}  // namespace octet::kernels::simd

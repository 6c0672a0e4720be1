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

/// `Arch`'s vector of floats, and conversions from and to as many fp16 values.
template <class Arch>
struct Vector {
  using type = xsimd::batch<float, Arch>;
  static constexpr int64_t size = type::size;
  static constexpr int32_t one = 0x3f800000;  // the bits of 1.0f

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
  /// a * b - c, rounded once.
  static type fms(type a, type b, type c) {
    return vfmaq_f32(vnegq_f32(c), a, b);
  }
  /// xsimd's own is from an estimate, not rounded correctly.
  static type div(type a, type b) {
    return vdivq_f32(a, b);
  }
  /// NaN stays NaN.
  static type clamp(type x, float least, float most) {
    return vmaxq_f32(vdupq_n_f32(least), vminq_f32(vdupq_n_f32(most), x));
  }
  /// To the nearest whole number, half to even.
  static type rint(type x) {
    return vrndnq_f32(x);
  }
  /// x 2^n, rounded once, for whole numbers n in [-250, 250] and |x| in [1/2, 2]: half of n is
  /// added to the exponent, which is exact. NaN where both are.
  static type times_power_of_two(type x, type n) {
    const int32x4_t whole = vcvtq_s32_f32(n), half = vshrq_n_s32(whole, 1);
    const int32x4_t lower = vaddq_s32(vreinterpretq_s32_f32(x), vshlq_n_s32(half, 23));
    const int32x4_t power = vaddq_s32(vshlq_n_s32(vsubq_s32(whole, half), 23), vdupq_n_s32(one));
    return vmulq_f32(vreinterpretq_f32_s32(lower), vreinterpretq_f32_s32(power));
  }
  /// Sums of neighbours, in each 128 bits two of a, then two of b.
  static type pair_sums(type a, type b) {
    return vpaddq_f32(a, b);
  }
  static float first(type v) {
    return vgetq_lane_f32(v, 0);
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
  static type fms(type a, type b, type c) {
    if constexpr (size == 16) {
#if defined(__AVX512F__)
      return _mm512_fmsub_ps(a, b, c);
#endif
    } else {
      return _mm256_fmsub_ps(a, b, c);
    }
  }
  static type div(type a, type b) {
    return a / b;
  }
  static type clamp(type x, float least, float most) {
    // The second operand is taken where one is NaN.
    if constexpr (size == 16) {
#if defined(__AVX512F__)
      return _mm512_max_ps(_mm512_set1_ps(least), _mm512_min_ps(_mm512_set1_ps(most), x));
#endif
    } else {
      return _mm256_max_ps(_mm256_set1_ps(least), _mm256_min_ps(_mm256_set1_ps(most), x));
    }
  }
  static type rint(type x) {
    if constexpr (size == 16) {
#if defined(__AVX512F__)
      return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT);
#endif
    } else {
      return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    }
  }
  static type times_power_of_two(type x, type n) {
    if constexpr (size == 16) {
#if defined(__AVX512F__)
      return _mm512_scalef_ps(x, n);
#endif
    } else {
      const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
      const __m256i lower = _mm256_add_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(half, 23));
      const __m256i power = _mm256_add_epi32(_mm256_slli_epi32(_mm256_sub_epi32(whole, half), 23),
                                             _mm256_set1_epi32(one));
      return _mm256_mul_ps(_mm256_castsi256_ps(lower), _mm256_castsi256_ps(power));
    }
  }
  static type pair_sums(type a, type b) {
    if constexpr (size == 16) {
#if defined(__AVX512F__)
      return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
#endif
    } else {
      return _mm256_hadd_ps(a, b);
    }
  }
  static float first(type v) {
    if constexpr (size == 16) {
#if defined(__AVX512F__)
      return _mm512_cvtss_f32(v);
#endif
    } else {
      return _mm256_cvtss_f32(v);
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

  /// Lane i and i ^ size / 2, then ^ size / 4, and so on to ^ 1.
  static float sum(type v) {
    if constexpr (size > 8) v = v + exchange<8>(v);
    if constexpr (size > 4) v = v + exchange<4>(v);
    v = v + exchange<2>(v);
    v = v + exchange<1>(v);
    return first(v);
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

/// Sixteen lanes of sums: the order of a sum over neighbours is the same for any vector width.
template <class Arch>
struct LaneSums {
  using V = Vector<Arch>;
  static constexpr int64_t lanes = 16;
  static constexpr int vectors = lanes / V::size;
  typename V::type part[vectors];

  LaneSums() {
#pragma GCC unroll 4
    for (int i = 0; i < vectors; ++i) part[i] = typename V::type(0.0f);
  }
  /// Lane l and l ^ 8, then ^ 4, ^ 2, ^ 1.
  float total() const {
    if constexpr (vectors == 4)
      return V::sum((part[0] + part[2]) + (part[1] + part[3]));
    else if constexpr (vectors == 2)
      return V::sum(part[0] + part[1]);
    else
      return V::sum(part[0]);
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

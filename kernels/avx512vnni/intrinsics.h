#pragma once
// <immintrin.h>, and the type of int32 accumulators. GCC 12 warns that its own
// _mm512_undefined_ps() is uninitialized (PR 105593).
#include <cstdint>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

namespace octet::kernels {

/// 16 int32, the type that vpdpbusd has for GCC 12: it copies accumulators of any other, such as
/// __m512i, before and after the instruction. Sums that may wrap are for the intrinsics.
using Int32x16 [[gnu::vector_size(64)]] = int32_t;

}  // namespace octet::kernels

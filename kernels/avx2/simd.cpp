#include <xsimd/xsimd.hpp>

#define OCTET_SIMD_ARCH xsimd::fma3<xsimd::avx2>
#define OCTET_SIMD_NAME(op) op##_avx2
#define OCTET_SIMD_TILE(op) op##_6x16_avx2
#include "kernels/simd/kernels.h"

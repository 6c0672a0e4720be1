#include <xsimd/xsimd.hpp>

#define OCTET_SIMD_ARCH xsimd::neon64
#define OCTET_SIMD_NAME(op) op##_neon
#define OCTET_SIMD_TILE(op) op##_6x16_neon
#include "kernels/simd/kernels.h"

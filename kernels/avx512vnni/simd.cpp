#include "kernels/avx512vnni/intrinsics.h"

#include <xsimd/xsimd.hpp>

#define OCTET_SIMD_ARCH xsimd::avx512f
#define OCTET_SIMD_NAME(op) op##_avx512vnni
#define OCTET_SIMD_TILE(op) op##_6x64_avx512vnni
#include "kernels/simd/kernels.h"

#pragma once
// Float functions with the CPU's bits (kernels/types.h): no approximations of the device's own.
#include <cuda_runtime.h>

#include <cstdint>

namespace octet::kernels::cuda {

/// e^x as kernels/simd/exp.h has it. NaN stays NaN.
__device__ inline float exact_exp(float x) {
  x = x < -110.0f ? -110.0f : x;
  x = x > 100.0f ? 100.0f : x;
  const float n = rintf(x * 0x1.715476p+0f);
  const float f = fmaf(x, 0x1.4ae0cp-26f, fmaf(x, 0x1.715476p+0f, -n));
  float power = 0x1.41fbbap-13f;
  power = fmaf(power, f, 0x1.5f3e54p-10f);
  power = fmaf(power, f, 0x1.3b2d4cp-7f);
  power = fmaf(power, f, 0x1.c6aee8p-5f);
  power = fmaf(power, f, 0x1.ebfbdcp-3f);
  power = fmaf(power, f, 0x1.62e43p-1f);
  power = fmaf(power, f, 1.0f);
  // Times 2^n in two steps, of which only the second may round: the result may be denormal.
  const int whole = static_cast<int>(n), half = whole >> 1;
  const auto power_of_two = [](int e) {
    return __uint_as_float(static_cast<uint32_t>(e + 127) << 23);
  };
  return power * power_of_two(half) * power_of_two(whole - half);
}

__device__ inline float exact_silu_mul(float gate, float up) {
  return gate / (1.0f + exact_exp(-gate)) * up;
}

}  // namespace octet::kernels::cuda

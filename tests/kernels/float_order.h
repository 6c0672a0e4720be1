#pragma once
// The order of float operations that kernels/types.h promises, as plain loops over floats.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace octet::kernels {

/// e^x; ldexp rounds once.
inline float exp_in_order(float x) {
  if (std::isnan(x)) return x;
  x = std::max(-110.0f, std::min(100.0f, x));
  const float n = std::rint(x * 0x1.715476p+0f);
  const float f = std::fma(x, 0x1.4ae0cp-26f, std::fma(x, 0x1.715476p+0f, -n));
  float power = 0x1.41fbbap-13f;
  for (float c :
       {0x1.5f3e54p-10f, 0x1.3b2d4cp-7f, 0x1.c6aee8p-5f, 0x1.ebfbdcp-3f, 0x1.62e43p-1f, 1.0f})
    power = std::fma(power, f, c);
  return std::ldexp(power, static_cast<int>(n));
}

/// s[i] + s[i ^ h] for h = half the size, then half of that, to 1.
inline float tree_sum(std::vector<float> s) {
  for (size_t h = s.size() / 2; h > 0; h /= 2)
    for (size_t i = 0; i < h; ++i) s[i] = s[i] + s[i + h];
  return s[0];
}

/// The sum of weights of a softmax: 16 lanes.
inline float lane_sum(const float* weights, int64_t n) {
  std::vector<float> lanes(16, 0.0f);
  for (int64_t j = 0; j < n; ++j) lanes[j % 16] = lanes[j % 16] + weights[j];
  return tree_sum(lanes);
}

/// The sum of squares of RMSNorm: 256 threads.
inline float thread_sum_of_squares(const float* x, int64_t n) {
  const auto at = [&](int64_t i) { return i < n ? x[i] : 0.0f; };
  const int64_t quads = (n + 3) / 4;
  float total = 0;
  for (int64_t warp = 0; warp < 8; ++warp) {
    std::vector<float> threads;
    for (int64_t lane = 0; lane < 32; ++lane) {
      const int64_t t = warp * 32 + lane;
      float sum = 0;
      for (int64_t j = 0;; ++j) {
        const int64_t i = (j / 2) * 512 + (t / 32) * 64 + (j % 2) * 32 + t % 32;
        if (i >= quads && j % 2 == 1) break;
        if (i >= quads) continue;
        const float x0 = at(4 * i), x1 = at(4 * i + 1), x2 = at(4 * i + 2), x3 = at(4 * i + 3);
        sum = sum + ((x0 * x0 + x1 * x1) + (x2 * x2 + x3 * x3));
      }
      threads.push_back(sum);
    }
    const float warp_sum = tree_sum(threads);
    total = warp == 0 ? warp_sum : total + warp_sum;
  }
  return total;
}

}  // namespace octet::kernels

// Activation quantization, every variant, against the formula in double precision.
#include <doctest/doctest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/kernels/rows.h"

using namespace octet::kernels;

namespace {

constexpr int16_t canary = 99;
constexpr int64_t sizes[] = {1,  2,  3,   4,   5,   7,   8,   15,  16,  17,  31,   32,   33,  63,
                             64, 65, 127, 128, 129, 130, 191, 255, 256, 257, 1535, 1536, 8960};

struct Quantized {
  bool ok;
  std::vector<int16_t> q;    ///< with one canary before and after
  std::vector<float> scale;  ///< with one canary after
};

/// By call(k, x, q, scale), to values of type T.
template <class T, class Call>
Quantized run(const std::vector<float>& x, int64_t groups, const Call& call) {
  // One element off the natural alignment; x ends where its memory ends.
  std::vector<float> shifted(x.size() + 1);
  std::copy(x.begin(), x.end(), shifted.begin() + 1);
  const auto k = static_cast<int64_t>(x.size());
  std::vector<T> q(static_cast<size_t>(padded_k(k) + 2), canary);
  Quantized out{false, {}, std::vector<float>(groups + 1, 77.0f)};
  out.ok = call(k, shifted.data() + 1, q.data() + 1, out.scale.data());
  out.q.assign(q.begin(), q.end());
  return out;
}
Quantized run(const Row<QuantizeFunction>& kernel, const std::vector<float>& x, int64_t groups,
              uint8_t activation_xor) {
  return run<int8_t>(x, groups, [&](int64_t k, const float* from, int8_t* q, float* scale) {
    return kernel.function({k, from, q, scale, activation_xor});
  });
}
Quantized run(const Row<Quantize16Function>& kernel, const std::vector<float>& x) {
  return run<int16_t>(x, 1, [&](int64_t k, const float* from, int16_t* q, float* scale) {
    return kernel.function({k, from, q, scale});
  });
}

/// The formula: one scale for `group` values, the largest of which becomes `levels`.
Quantized formula(const std::vector<float>& x, int64_t group, uint8_t activation_xor,
                  int levels = 127) {
  const auto k = static_cast<int64_t>(x.size());
  Quantized out{true, {canary}, {}};
  for (int64_t begin = 0; begin < k; begin += group) {
    const int64_t end = std::min(k, begin + group);
    double absmax = 0;
    for (int64_t i = begin; i < end; ++i) absmax = std::max(absmax, std::fabs(double{x[i]}));
    const bool zero = absmax * double{FLT_MAX} < levels * (1 - 1e-9);
    const auto inverse = zero ? 0.0f : static_cast<float>(levels / absmax);
    out.scale.push_back(zero ? 0.0f : static_cast<float>(absmax / levels));
    for (int64_t i = begin; i < end; ++i) {
      const auto product = static_cast<float>(double{x[i]} * double{inverse});
      const int rounded = static_cast<int>(std::nearbyint(product));
      out.q.push_back(static_cast<int16_t>(
          levels == 127 ? static_cast<int8_t>(rounded ^ activation_xor) : rounded));
    }
  }
  for (int64_t i = k; i < padded_k(k); ++i) out.q.push_back(static_cast<int8_t>(activation_xor));
  out.q.push_back(canary);
  out.scale.push_back(77.0f);
  return out;
}

struct Op {
  const char* name;
  bool grouped;
};
constexpr Op ops[] = {{"quantize_f32_s8", false}, {"quantize_f32_s8_g128", true}};

int64_t group_of(const Op& op, int64_t k) {
  return op.grouped ? group_size : k;
}

void check(const std::vector<float>& x, const char* what) {
  const auto k = static_cast<int64_t>(x.size());
  for (const Op& op : ops)
    for (const auto& kernel : runnable_rows<QuantizeFunction>(op.name))
      for (uint8_t activation_xor : {0, 0x80}) {
        const Quantized expected = formula(x, group_of(op, k), activation_xor);
        const int64_t groups = static_cast<int64_t>(expected.scale.size()) - 1;
        const Quantized got = run(kernel, x, groups, activation_xor);
        const std::string name = kernel.name + ", k " + std::to_string(k) + ", " + what;
        CHECK_MESSAGE(got.ok, name);
        CHECK_MESSAGE(got.q == expected.q, name);
        CHECK_MESSAGE(got.scale == expected.scale, name);
      }
  const Quantized expected = formula(x, k, 0, kv_s16_levels);
  for (const auto& kernel : runnable_rows<Quantize16Function>("quantize_f32_s16")) {
    const Quantized got = run(kernel, x);
    const std::string name = kernel.name + ", k " + std::to_string(k) + ", " + what;
    CHECK_MESSAGE(got.ok, name);
    CHECK_MESSAGE(got.q == expected.q, name);
    CHECK_MESSAGE(got.scale == expected.scale, name);
  }
}

}  // namespace

TEST_CASE("quantize rounds as the formula does, at every size and magnitude") {
  std::mt19937 generator(11);
  for (int64_t k : sizes)
    for (float magnitude : {1.0f, 1e-30f, 1e30f, 3.0f, 1e-36f, FLT_MAX}) {
      std::vector<float> x(k);
      for (float& value : x)
        value = (static_cast<float>(generator() % 2000001) / 1000000.0f - 1.0f) * magnitude;
      check(x, "random");
    }
}

TEST_CASE("quantize rounds ties to even") {
  for (int64_t k : sizes) {
    std::vector<float> x(k);
    for (int64_t i = 0; i < k; ++i) x[i] = static_cast<float>(i * 7 % 253) - 126.5f;
    // 127 in every group makes the factor exactly 1.
    for (int64_t i = 0; i < k; i += group_size) x[i] = 127.0f;
    check(x, "ties");
  }
}

TEST_CASE("quantize finds the largest magnitude wherever it is") {
  for (int64_t k : {1, 5, 31, 33, 64, 130})
    for (int64_t at = 0; at < k; ++at)
      for (float value : {-2.0f, 2.0f}) {
        std::vector<float> x(k, 0.25f);
        x[at] = value;
        check(x, "one large value");
      }
}

TEST_CASE("rows of zeros, and rows too small to scale, are zero with scale 0") {
  const float smallest = std::nextafter(127.0f / FLT_MAX, 1.0f);
  for (int64_t k : sizes) {
    check(std::vector<float>(k, 0.0f), "zeros");
    check(std::vector<float>(k, -0.0f), "negative zeros");
    check(std::vector<float>(k, FLT_TRUE_MIN), "smallest subnormal");
    check(std::vector<float>(k, FLT_MIN), "smallest normal");
    check(std::vector<float>(k, smallest * 0.999f), "just too small");
    check(std::vector<float>(k, smallest * 1.001f), "just large enough");
  }
  for (const Op& op : ops)
    for (const auto& kernel : runnable_rows<QuantizeFunction>(op.name)) {
      const Quantized tiny = run(kernel, {FLT_MIN, -FLT_MIN, 0.0f, FLT_TRUE_MIN}, 1, 0);
      const std::vector<int16_t> zeros = {canary, 0, 0, 0, 0, canary};
      CHECK_MESSAGE(tiny.q == zeros, kernel.name);
      CHECK_MESSAGE(tiny.scale[0] == 0.0f, kernel.name);
    }
}

TEST_CASE("a value that is not finite is refused wherever it is") {
  for (const Op& op : ops)
    for (const auto& kernel : runnable_rows<QuantizeFunction>(op.name))
      for (int64_t k : {1, 3, 8, 17, 33, 64, 130, 257})
        for (int64_t at = 0; at < k; ++at)
          for (float bad :
               {std::numeric_limits<float>::quiet_NaN(), -std::nanf(""), INFINITY, -INFINITY}) {
            std::vector<float> x(k, 1.5f);
            x[at] = bad;
            const Quantized got = run(kernel, x, op.grouped ? num_groups(k) : 1, 0);
            CHECK_MESSAGE(!got.ok, kernel.name);
            CHECK_MESSAGE(got.q.front() == canary, kernel.name);
            CHECK_MESSAGE(got.q.back() == canary, kernel.name);
            CHECK_MESSAGE(got.scale.back() == 77.0f, kernel.name);
          }
  for (const auto& kernel : runnable_rows<Quantize16Function>("quantize_f32_s16"))
    for (int64_t at = 0; at < 33; ++at) {
      std::vector<float> x(33, 1.5f);
      x[static_cast<size_t>(at)] = INFINITY;
      CHECK_MESSAGE(!run(kernel, x).ok, kernel.name);
      x[static_cast<size_t>(at)] = NAN;
      CHECK_MESSAGE(!run(kernel, x).ok, kernel.name);
    }
}

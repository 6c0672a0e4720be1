// Operations on rows give the bits of the order in kernels/types.h, on every instruction set but
// ref, whose sums are in double.
#include "tests/kernels/float_order.h"

#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tests/kernels/rows.h"

using namespace octet::kernels;

namespace {

constexpr int64_t sizes[] = {1,    3,    4,    15,   16,   17,   63,   64,   80,   127,
                             128,  129,  255,  256,  257,  576,  896,  1025, 1535, 1536,
                             1537, 2047, 2048, 2049, 2050, 2177, 4096, 5120, 8960};

/// Values whose magnitudes differ, so that another order rounds differently.
std::vector<float> random_row(int64_t n, uint32_t seed, float magnitude = 1.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, magnitude);
  std::vector<float> row(static_cast<size_t>(n));
  for (float& value : row) value = normal(generator);
  return row;
}

template <class Function>
std::vector<Row<Function>> ordered_rows(const char* op) {
  std::vector<Row<Function>> rows = runnable_rows<Function>(op);
  std::erase_if(rows, [](const auto& row) { return row.isa == Isa::ref; });
  return rows;
}

void check_bits(const std::vector<float>& got, const std::vector<float>& expected,
                const std::string& what) {
  size_t different = 0;
  for (size_t i = 0; i < expected.size(); ++i)
    if (std::memcmp(&got[i], &expected[i], sizeof(float)) != 0) ++different;
  CHECK_MESSAGE(different == 0, what << ", n " << expected.size() << ": " << different);
}

}  // namespace

TEST_CASE("the exponential is e^x to 1.2 units in the last place") {
  double worst = 0;
  for (int i = -8800000; i <= 8800000; ++i) {
    const float x = static_cast<float>(i) * 1e-5f;
    const double exact = std::exp(double{x});
    const double unit = std::max(std::ldexp(1.0, std::ilogb(exact) - 23), 0x1p-149);
    worst = std::max(worst, std::fabs(exp_in_order(x) - exact) / unit);
  }
  CHECK(worst < 1.2);
  CHECK(exp_in_order(-INFINITY) == 0);
  CHECK(std::isinf(exp_in_order(INFINITY)));
  CHECK(std::isnan(exp_in_order(NAN)));
}

TEST_CASE("rms_norm adds squares in the order of 256 threads") {
  for (const auto& kernel : ordered_rows<RmsNormFunction>("rms_norm_f32"))
    for (int64_t n : sizes)
      for (float magnitude : {1e-4f, 1.0f, 300.0f}) {
        const auto x = random_row(n, 1, magnitude), w = random_row(n, 2);
        const float mean = thread_sum_of_squares(x.data(), n) / static_cast<float>(n);
        const float root = std::sqrt(mean + 1e-6f);
        std::vector<float> expected, y(x.size());
        for (size_t i = 0; i < x.size(); ++i) expected.push_back(x[i] / root * w[i]);
        kernel.function(x.data(), w.data(), y.data(), n, 1e-6f);
        check_bits(y, expected, kernel.name);
      }
}

TEST_CASE("softmax adds weights in 16 lanes") {
  for (const auto& kernel : ordered_rows<SoftmaxFunction>("softmax_f32"))
    for (int64_t n : sizes)
      for (float magnitude : {0.0f, 1.0f, 60.0f, 1e30f}) {
        const auto x = random_row(n, 3, magnitude);
        const float max = *std::max_element(x.begin(), x.end());
        std::vector<float> expected, y(x.size());
        for (float value : x) expected.push_back(exp_in_order(value - max));
        const float inverse = 1.0f / lane_sum(expected.data(), n);
        for (float& weight : expected) weight *= inverse;
        kernel.function(x.data(), y.data(), n);
        check_bits(y, expected, kernel.name);
      }
}

TEST_CASE("silu_mul rounds each operation once") {
  for (const auto& kernel : ordered_rows<SiluMulFunction>("silu_mul_f32"))
    for (int64_t n : sizes)
      for (float magnitude : {1.0f, 20.0f, 200.0f, 3e4f}) {
        const auto gate = random_row(n, 4, magnitude), up = random_row(n, 5, 3.0f);
        std::vector<float> expected, y(gate.size());
        for (size_t i = 0; i < gate.size(); ++i)
          expected.push_back(gate[i] / (1.0f + exp_in_order(-gate[i])) * up[i]);
        kernel.function(gate.data(), up.data(), y.data(), n);
        check_bits(y, expected, kernel.name);
      }
}

// Operations on rows, every variant, against plain loops in double.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tests/kernels/rows.h"

using namespace octet::kernels;

namespace {

constexpr int64_t sizes[] = {1,  2,  3,  4,  5,  7,   8,   9,   15,  16,   17,   31,  32,
                             33, 63, 64, 65, 96, 100, 127, 128, 129, 1535, 1536, 8960};

std::vector<float> random_row(int64_t n, uint32_t seed, float magnitude = 1.0f) {
  std::mt19937 generator(seed);
  std::vector<float> row(static_cast<size_t>(n));
  for (float& value : row)
    value = (static_cast<float>(generator() % 2000001) / 1000000.0f - 1.0f) * magnitude;
  return row;
}

/// A row one element off its natural alignment, with a canary on each side.
template <class T>
struct Guarded {
  explicit Guarded(int64_t n) : memory(static_cast<size_t>(n) + 2) {
    std::memset(memory.data(), 0x5a, memory.size() * sizeof(T));
    guard = memory.front();
  }
  explicit Guarded(const std::vector<T>& from) : Guarded(static_cast<int64_t>(from.size())) {
    std::copy(from.begin(), from.end(), data());
  }
  T* data() { return memory.data() + 1; }
  bool intact() const {
    return std::memcmp(&memory.front(), &guard, sizeof(T)) == 0 &&
           std::memcmp(&memory.back(), &guard, sizeof(T)) == 0;
  }
  std::vector<T> memory;
  T guard;
};

void check_near(Guarded<float>& got, const std::vector<double>& expected, double relative,
                double absolute, const std::string& what) {
  CHECK_MESSAGE(got.intact(), what);
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = std::fabs(double{got.data()[i]} - expected[i]);
    // Written so that a NaN counts as the worst of all.
    if (!(error <= relative * std::fabs(expected[i]) + absolute))
      worst = std::max(worst, std::isnan(error) ? INFINITY : error);
  }
  CHECK_MESSAGE(worst == 0, what << ": off by " << worst);
}

template <class Function>
std::string label(const Row<Function>& kernel, int64_t n) {
  return kernel.name + ", n " + std::to_string(n);
}

double half_value(uint16_t half) {
  const int exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
  double value = exponent == 0    ? std::ldexp(fraction, -24)
                 : exponent == 31 ? (fraction ? NAN : INFINITY)
                                  : std::ldexp(1024 + fraction, exponent - 25);
  return half >> 15 ? -value : value;
}

/// Round to nearest even by arithmetic in double, where every step is exact.
uint16_t half_nearest(float x) {
  const auto sign = static_cast<uint16_t>(std::signbit(x) ? 0x8000 : 0);
  const double magnitude = std::fabs(double{x});
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  exponent = std::max(exponent, -13);
  const double unit = std::ldexp(1.0, exponent - 11);
  const double rounded = std::nearbyint(magnitude / unit) * unit;
  if (rounded > 65504) return sign | 0x7c00;
  uint16_t low = 0, high = 0x7bff;  // halves rise with their bits
  while (low < high) {
    const auto middle = static_cast<uint16_t>((low + high) / 2);
    if (half_value(middle) < rounded)
      low = static_cast<uint16_t>(middle + 1);
    else
      high = middle;
  }
  return sign | low;
}

}  // namespace

TEST_CASE("rms_norm") {
  for (const auto& kernel : runnable_rows<RmsNormFunction>("rms_norm_f32"))
    for (int64_t n : sizes)
      for (float magnitude : {1e-4f, 1.0f, 300.0f}) {
        const auto x = random_row(n, 1, magnitude), w = random_row(n, 2);
        const float eps = 1e-6f;
        double sum = 0;
        for (float value : x) sum += double{value} * value;
        std::vector<double> expected;
        for (int64_t i = 0; i < n; ++i)
          expected.push_back(x[i] / std::sqrt(sum / static_cast<double>(n) + double{eps}) * w[i]);
        Guarded<float> y(n), in_place(x), wide(w);
        kernel.function(x.data(), wide.data(), y.data(), n, eps);
        check_near(y, expected, 1e-6, 0, label(kernel, n));
        kernel.function(in_place.data(), wide.data(), in_place.data(), n, eps);
        check_near(in_place, expected, 1e-6, 0, label(kernel, n) + " in place");
      }
}

TEST_CASE("softmax") {
  for (const auto& kernel : runnable_rows<SoftmaxFunction>("softmax_f32"))
    for (int64_t n : sizes)
      for (float magnitude : {0.0f, 1.0f, 60.0f, 1e30f}) {
        const auto x = random_row(n, 3, magnitude);
        const double max = *std::max_element(x.begin(), x.end());
        double sum = 0;
        for (float value : x) sum += std::exp(value - max);
        std::vector<double> expected;
        for (float value : x) expected.push_back(std::exp(value - max) / sum);
        Guarded<float> y(n), in_place(x);
        kernel.function(x.data(), y.data(), n);
        // 60 - -60 loses up to 2^-18 of an fp32 exponent.
        check_near(y, expected, 8e-6, 1e-37, label(kernel, n));
        kernel.function(in_place.data(), in_place.data(), n);
        check_near(in_place, expected, 8e-6, 1e-37, label(kernel, n) + " in place");
      }
}

TEST_CASE("silu_mul") {
  for (const auto& kernel : runnable_rows<SiluMulFunction>("silu_mul_f32"))
    for (int64_t n : sizes)
      for (float magnitude : {1.0f, 20.0f, 200.0f, 3e4f}) {
        const auto gate = random_row(n, 4, magnitude), up = random_row(n, 5, 3.0f);
        std::vector<double> expected;
        for (int64_t i = 0; i < n; ++i)
          expected.push_back(gate[i] / (1 + std::exp(-double{gate[i]})) * up[i]);
        Guarded<float> y(n), in_place(gate);
        kernel.function(gate.data(), up.data(), y.data(), n);
        check_near(y, expected, 8e-7, 1e-35, label(kernel, n));
        kernel.function(in_place.data(), up.data(), in_place.data(), n);
        check_near(in_place, expected, 8e-7, 1e-35, label(kernel, n) + " in place");
      }
}

TEST_CASE("hadamard multiplies each block by the orthogonal Hadamard matrix, and undoes itself") {
  for (int64_t block = 1; block <= 1024; block *= 2)
    for (int64_t blocks : {1, 2, 3, 7, 35}) {
      const int64_t n = block * blocks;
      const auto x = random_row(n, 11);
      std::vector<double> expected(x.size());
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < block; ++j) {  // (-1)^(number of common bits)
          const int sign = __builtin_popcountll(static_cast<uint64_t>(i % block & j)) % 2 ? -1 : 1;
          expected[i] += sign * x[i / block * block + j] / std::sqrt(static_cast<double>(block));
        }
      Guarded<float> reference(x);
      hadamard_f32_ref(reference.data(), n, block);
      for (const auto& kernel : runnable_rows<HadamardFunction>("hadamard_f32")) {
        const std::string what = label(kernel, n) + ", block " + std::to_string(block);
        Guarded<float> y(x);
        kernel.function(y.data(), n, block);
        check_near(y, expected, 0, 1e-6, what);
        CHECK_MESSAGE(y.memory == reference.memory, what);
        kernel.function(y.data(), n, block);
        check_near(y, {x.begin(), x.end()}, 0, 2e-6, what + " twice");
      }
    }
}

TEST_CASE("rope turns each pair by its angle") {
  for (const auto& kernel : runnable_rows<RopeFunction>("rope_f32"))
    for (int64_t head_dim : {2, 4, 6, 16, 18, 32, 64, 80, 96, 128, 256}) {
      const int64_t half = head_dim / 2;
      const auto x = random_row(head_dim, 6);
      std::vector<float> cos, sin;
      for (int64_t i = 0; i < half; ++i) {
        cos.push_back(static_cast<float>(std::cos(0.37 * static_cast<double>(i + 1))));
        sin.push_back(static_cast<float>(std::sin(0.37 * static_cast<double>(i + 1))));
      }
      std::vector<double> expected(static_cast<size_t>(head_dim));
      for (int64_t i = 0; i < half; ++i) {
        expected[i] = double{x[i]} * cos[i] - double{x[i + half]} * sin[i];
        expected[i + half] = double{x[i + half]} * cos[i] + double{x[i]} * sin[i];
      }
      Guarded<float> y(x);
      kernel.function(y.data(), cos.data(), sin.data(), head_dim);
      check_near(y, expected, 0, 3e-7, label(kernel, head_dim));
    }
}

TEST_CASE("add is one rounding") {
  for (const auto& kernel : runnable_rows<AddFunction>("add_f32"))
    for (int64_t n : sizes) {
      const auto x = random_row(n, 7), before = random_row(n, 8, 100.0f);
      std::vector<double> expected;
      for (int64_t i = 0; i < n; ++i)
        expected.push_back(static_cast<float>(double{x[i]} + before[i]));
      Guarded<float> y(before);
      kernel.function(x.data(), y.data(), n);
      check_near(y, expected, 0, 0, label(kernel, n));
    }
}

TEST_CASE("dot products") {
  for (int64_t n : sizes) {
    const auto a = random_row(n, 9), b = random_row(n, 10);
    double sum = 0, half_sum = 0, total = 0;
    std::vector<uint16_t> a_half;
    for (int64_t i = 0; i < n; ++i) {
      a_half.push_back(half_nearest(a[i]));
      sum += double{a[i]} * b[i];
      half_sum += half_value(a_half.back()) * b[i];
      total += std::fabs(double{a[i]} * b[i]);
    }
    Guarded<float> a_shifted(a), b_shifted(b);
    Guarded<uint16_t> half_shifted(a_half);
    for (const auto& kernel : runnable_rows<DotF32Function>("dot_f32")) {
      const float got = kernel.function(a_shifted.data(), b_shifted.data(), n);
      CHECK_MESSAGE(std::fabs(got - sum) <= 1e-6 * total, label(kernel, n));
    }
    for (const auto& kernel : runnable_rows<DotF16Function>("dot_f16_f32")) {
      const float got = kernel.function(half_shifted.data(), b_shifted.data(), n);
      CHECK_MESSAGE(std::fabs(got - half_sum) <= 1e-6 * total, label(kernel, n));
    }
  }
}

TEST_CASE("a row of a low-rank product is added, in columns that end anywhere") {
  for (int64_t n : sizes)
    for (int64_t rank : {1, 2, 7, 16, 33}) {
      const auto y = random_row(n, 12), t = random_row(rank, 13);
      const int64_t tiles = (n + 15) / 16;
      std::vector<uint16_t> w;
      for (float value : random_row(tiles * rank * 16, 14)) w.push_back(half_nearest(value));
      std::vector<double> expected(y.begin(), y.end());
      for (int64_t c = 0; c < n; ++c)
        for (int64_t j = 0; j < rank; ++j)
          expected[c] += half_value(w[(c / 16 * rank + j) * 16 + c % 16]) * t[j];
      Guarded<float> t_shifted(t);
      Guarded<uint16_t> w_shifted(w);
      for (const auto& kernel : runnable_rows<LowRankFunction>("low_rank_f16_f32")) {
        Guarded<float> out(y);
        kernel.function({n, rank, t_shifted.data(), w_shifted.data(), out.data()});
        check_near(out, expected, 0, 1e-6 * static_cast<double>(rank + 1),
                   label(kernel, n) + ", rank " + std::to_string(rank));
      }
    }
}

TEST_CASE("products of a row with some rows that lie side by side") {
  for (int64_t k : sizes) {
    const auto x = random_row(k, 15);
    const int64_t tiles = (k + 15) / 16;
    std::vector<uint16_t> w(static_cast<size_t>(tiles * project_rows * 16));
    std::vector<double> expected;
    double total = 0;
    for (int64_t j = 0; j < project_rows; ++j) {
      const auto row = random_row(k, 16 + static_cast<uint32_t>(j));
      double sum = 0;
      for (int64_t i = 0; i < k; ++i) {
        const uint16_t half = half_nearest(row[i]);
        w[(i / 16 * project_rows + j) * 16 + i % 16] = half;
        sum += half_value(half) * x[i];
        total += std::fabs(half_value(half) * x[i]);
      }
      expected.push_back(sum);
    }
    Guarded<float> x_shifted(x);
    Guarded<uint16_t> w_shifted(w);
    for (const auto& kernel : runnable_rows<ProjectFunction>("project_f16_f32")) {
      Guarded<float> t(project_rows);
      kernel.function({k, x_shifted.data(), w_shifted.data(), t.data()});
      check_near(t, expected, 0, 1e-6 * total, label(kernel, k));
    }
  }
}

TEST_CASE("every fp16 value becomes the fp32 of the same value, and comes back") {
  std::vector<uint16_t> all(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  for (const auto& kernel : runnable_rows<ConvertF16F32Function>("convert_f16_f32")) {
    Guarded<float> wide(65536);
    kernel.function(all.data(), wide.data(), 65536);
    CHECK_MESSAGE(wide.intact(), kernel.name);
    int wrong = 0;
    for (size_t i = 0; i < all.size(); ++i) {
      const double expected = half_value(all[i]), got = wide.data()[i];
      const bool same = std::isnan(expected)
                            ? std::isnan(got)
                            : got == expected && std::signbit(got) == std::signbit(expected);
      if (!same) ++wrong;
    }
    CHECK_MESSAGE(wrong == 0, kernel.name);
    for (const auto& back : runnable_rows<ConvertF32F16Function>("convert_f32_f16")) {
      Guarded<uint16_t> narrow(65536);
      back.function(wide.data(), narrow.data(), 65536);
      CHECK_MESSAGE(narrow.intact(), back.name);
      wrong = 0;
      for (size_t i = 0; i < all.size(); ++i)
        if (std::isnan(half_value(all[i])) ? !std::isnan(half_value(narrow.data()[i]))
                                           : narrow.data()[i] != all[i])
          ++wrong;
      CHECK_MESSAGE(wrong == 0, back.name);
    }
  }
}

TEST_CASE("fp32 to fp16 rounds to nearest even, also into subnormals and to infinity") {
  std::vector<float> x = {0.0f,       -0.0f,    65504.0f,  65519.99f,    65520.0f,    -65520.0f,
                          1e30f,      INFINITY, -INFINITY, 0x1p-14f,     0x1p-24f,    0x1p-25f,
                          0x1.8p-25f, 0x1p-26f, 1e-40f,    0x1.ffcp-15f, 0x1.ffep-15f};
  for (uint16_t half = 0; half < 0x7bff; half = static_cast<uint16_t>(half + 7)) {
    const double middle =
        (half_value(half) + half_value(static_cast<uint16_t>(half + 1))) / 2;  // exact in fp32
    const auto tie = static_cast<float>(middle);
    for (float value : {tie, std::nextafter(tie, 0.0f), std::nextafter(tie, 1e9f), -tie})
      x.push_back(value);
  }
  const auto n = static_cast<int64_t>(x.size());
  for (const auto& kernel : runnable_rows<ConvertF32F16Function>("convert_f32_f16")) {
    Guarded<uint16_t> y(n);
    kernel.function(x.data(), y.data(), n);
    CHECK_MESSAGE(y.intact(), kernel.name);
    int wrong = 0;
    for (int64_t i = 0; i < n; ++i)
      if (y.data()[i] != half_nearest(x[i])) ++wrong;
    CHECK_MESSAGE(wrong == 0, kernel.name);
    for (int64_t size : sizes) {
      Guarded<uint16_t> part(std::min(size, n));
      kernel.function(x.data() + 1, part.data(), std::min(size, n - 1));
      CHECK_MESSAGE(part.intact(), label(kernel, size));
    }
  }
}

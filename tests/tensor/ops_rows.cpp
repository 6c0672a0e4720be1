// rms_norm, softmax and silu_mul against their formulas in double.
#include <octet/ops.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "tests/tensor/support.h"

using namespace octet;
using namespace octet::testing;

namespace {

using Matrix = TensorView<const float, 2>;

constexpr int64_t widths[] = {0, 1, 2, 7, 8, 15, 16, 17, 64, 129, 1536, 8960};

/// True if value is exact, but for `relative`, or for something below 1e-30.
bool near(float value, double exact, double relative) {
  return std::abs(value - exact) <= relative * std::abs(exact) + 1e-30;
}

void check_rms_norm(Matrix x, TensorView<const float, 1> w, float eps, Matrix y) {
  int64_t wrong = 0;
  const auto [rows, cols] = x.shape();
  for (int64_t row = 0; row < rows; ++row) {
    double sum = 0;
    for (int64_t i = 0; i < cols; ++i) sum += double{x(row, i)} * x(row, i);
    const double root = std::sqrt(sum / static_cast<double>(cols) + eps);
    for (int64_t i = 0; i < cols; ++i)
      if (!near(y(row, i), x(row, i) / root * w(i), 1e-6)) ++wrong;
  }
  CHECK(wrong == 0);
}

void check_softmax(Matrix x, Matrix y) {
  int64_t wrong = 0;
  const auto [rows, cols] = x.shape();
  for (int64_t row = 0; row < rows; ++row) {
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < cols; ++i) max = std::max<double>(max, x(row, i));
    for (int64_t i = 0; i < cols; ++i) sum += std::exp(x(row, i) - max);
    for (int64_t i = 0; i < cols; ++i) {
      // The difference is rounded to fp32 before it is an exponent.
      const double difference = x(row, i) - max;
      const double relative = 1e-6 + std::ldexp(std::min(-difference, 1000.0), -24);
      if (!near(y(row, i), std::exp(difference) / sum, relative)) ++wrong;
    }
  }
  CHECK(wrong == 0);
}

void check_silu_mul(Matrix gate, Matrix up, Matrix y) {
  int64_t wrong = 0;
  for (int64_t row = 0; row < y.shape()[0]; ++row)
    for (int64_t i = 0; i < y.shape()[1]; ++i) {
      const double g = gate(row, i);
      if (!near(y(row, i), g / (1 + std::exp(-g)) * up(row, i), 1e-6)) ++wrong;
    }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("rms_norm divides by the root of the mean square") {
  Random random;
  for (int64_t rows : {0, 1, 3})
    for (int64_t cols : widths) {
      CAPTURE(rows);
      CAPTURE(cols);
      const auto memory = random.tensor<2>({rows, cols + 5});
      const Matrix x = memory.view().slice(1, 2, cols + 2);
      const auto w = random.tensor<1>({cols});
      Strided y(rows, cols);
      ops::rms_norm(x, w, 1e-6f, y);
      check_rms_norm(x, w, 1e-6f, y);
      CHECK(y.gaps_untouched());
      auto in_place = x.clone();
      ops::rms_norm(in_place, w, 0.5f, in_place);
      check_rms_norm(x, w, 0.5f, in_place);
    }
}

TEST_CASE("rms_norm of zeros is zero") {
  Tensor<float, 2> x({2, 20}), y({2, 20});
  Tensor<float, 1> w({20});
  w.fill(3);
  y.fill(1);
  ops::rms_norm(x, w, 1e-6f, y);
  for (float value : y.elements()) CHECK(value == 0);
}

TEST_CASE("softmax shares out 1 by the exponentials") {
  Random random;
  for (int64_t rows : {0, 1, 3})
    for (int64_t cols : widths)
      for (float spread : {1.0f, 30.0f, 10000.0f}) {
        CAPTURE(rows);
        CAPTURE(cols);
        CAPTURE(spread);
        auto memory = random.tensor<2>({rows, cols + 5});
        for (float& value : memory.elements()) value *= spread;
        const Matrix x = memory.view().slice(1, 2, cols + 2);
        Strided y(rows, cols);
        ops::softmax(x, y);
        check_softmax(x, y);
        CHECK(y.gaps_untouched());
        auto in_place = x.clone();
        ops::softmax(in_place, in_place);
        check_softmax(x, in_place);
      }
}

TEST_CASE("softmax gives what is minus infinity no share") {
  const float masked = -std::numeric_limits<float>::infinity();
  Random random;
  auto x = random.tensor<2>({2, 37});
  for (int64_t i = 10; i < 37; ++i) x(0, i) = masked;
  for (int64_t i = 0; i < 36; ++i) x(1, i) = masked;
  Tensor<float, 2> y({2, 37});
  ops::softmax(x, y);
  check_softmax(x, y);
  CHECK(y(0, 10) == 0);
  CHECK(y(1, 36) == 1);
}

TEST_CASE("silu_mul is gate times its logistic times up") {
  Random random;
  for (int64_t rows : {0, 1, 3})
    for (int64_t cols : widths) {
      CAPTURE(rows);
      CAPTURE(cols);
      auto memory = random.tensor<2>({rows, cols + 5});
      for (float& value : memory.elements()) value *= 20;
      const Matrix gate = memory.view().slice(1, 2, cols + 2);
      const auto up = random.tensor<2>({rows, cols});
      Strided y(rows, cols);
      ops::silu_mul(gate, up, y);
      check_silu_mul(gate, up, y);
      CHECK(y.gaps_untouched());
      auto in_gate = gate.clone(), in_up = up.clone();
      ops::silu_mul(in_gate, up, in_gate);
      check_silu_mul(gate, up, in_gate);
      ops::silu_mul(gate, in_up, in_up);
      check_silu_mul(gate, up, in_up);
    }
}

TEST_CASE("silu_mul saturates far from zero") {
  Tensor<float, 2> gate({1, 4}), up({1, 4}), y({1, 4});
  up.fill(2);
  const float values[] = {1000, -1000, 3e38f, -3e38f};
  std::copy(std::begin(values), std::end(values), gate.data());
  up(0, 2) = 0.5f;
  ops::silu_mul(gate, up, y);
  CHECK(y(0, 0) == 2000);
  CHECK(y(0, 1) == 0);
  CHECK(y(0, 2) == 1.5e38f);
  CHECK(y(0, 3) == 0);
}

TEST_CASE("operations on rows name what disagrees") {
  Tensor<float, 2> x({3, 8}), y({3, 7}), z({2, 8});
  Tensor<float, 1> w({7});
  CHECK(invalid([&] { ops::rms_norm(x, w, 0, x); }) ==
        "rms_norm: dimension 1 of x [3, 8] is 8, dimension 0 of w [7] is 7");
  CHECK(invalid([&] { ops::rms_norm(x, w, 0, y); }) ==
        "rms_norm: dimension 1 of x [3, 8] is 8, dimension 1 of y [3, 7] is 7");
  CHECK(invalid([&] { ops::softmax(x, z); }) ==
        "softmax: dimension 0 of x [3, 8] is 3, dimension 0 of y [2, 8] is 2");
  CHECK(invalid([&] { ops::silu_mul(x, y, x); }) ==
        "silu_mul: dimension 1 of gate [3, 8] is 8, dimension 1 of up [3, 7] is 7");
  CHECK(invalid([&] { ops::silu_mul(x, x, z); }) ==
        "silu_mul: dimension 0 of gate [3, 8] is 3, dimension 0 of y [2, 8] is 2");
}

TEST_CASE("operations on rows refuse a part of their input for output, and columns for rows") {
  Tensor<float, 2> memory({9, 8}), other({6, 8});
  const auto x = memory.view().slice(0, 0, 6), shifted = memory.view().slice(0, 1, 7);
  Tensor<float, 1> w({8});
  CHECK(contains(invalid([&] { ops::softmax(x, shifted); }), "overlaps x"));
  CHECK(contains(invalid([&] { ops::rms_norm(x, w, 0, shifted); }), "overlaps x"));
  CHECK(contains(invalid([&] { ops::rms_norm(other, memory.row(2), 0, x); }), "overlaps w"));
  CHECK(contains(invalid([&] { ops::silu_mul(x, other, shifted); }), "overlaps gate"));
  CHECK(contains(invalid([&] { ops::silu_mul(other, x, shifted); }), "overlaps up"));
  Tensor<float, 2> square({8, 8}), target({8, 8});
  CHECK(contains(invalid([&] { ops::softmax(square.view().transpose(), target); }),
                 "x [8, 8] has strides [1, 8]"));
  const TensorView<float, 2> repeated(target.data(), {8, 8}, {0, 1});
  CHECK(contains(invalid([&] { ops::softmax(square, repeated); }), "share memory"));
  ops::softmax(repeated, square);  // an input may repeat
}

// The int8 operations, recomputed here from the formulas of the headers: integers exactly, then
// fp32 with one rounding an operation. Every instruction set must give the same bits.
#include <octet/ops.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "tests/tensor/support.h"

using namespace octet;
using namespace octet::testing;
using ops::QuantizedMatrix;
using ops::Scales;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

/// Half to even, by the fraction; independent of the rounding mode and of rint.
double half_to_even(double x) {
  const double below = std::floor(x), fraction = x - below;
  if (fraction != 0.5) return fraction < 0.5 ? below : below + 1;
  return std::fmod(below, 2) == 0 ? below : below + 1;
}

/// The smallest number with 8 bits of mantissa that is >= x.
float up_to_8_bits(float x) {
  if (x == 0) return 0;
  const int exponent = std::ilogb(x);
  return static_cast<float>(
      std::ldexp(std::ceil(std::ldexp(double{x}, 7 - exponent)), exponent - 7));
}

struct Quantized {
  std::vector<double> q;  ///< [rows, cols]
  std::vector<float> scale;
};

float absmax(const float* x, int64_t count) {
  float result = 0;
  for (int64_t i = 0; i < count; ++i) result = std::max(result, std::abs(x[i]));
  return result;
}

/// One group after another, row by row; `one` appends a group's scale and values.
template <class One>
Quantized by_groups(TensorView<const float, 2> x, int64_t group, One one) {
  Quantized result;
  const auto& [rows, cols] = x.shape();
  for (int64_t row = 0; row < rows; ++row) {
    if (cols == 0 && group > 128) result.scale.push_back(0);
    for (int64_t begin = 0; begin < cols; begin += group)
      one(&x(row, begin), std::min(group, cols - begin), result);
  }
  return result;
}

constexpr int64_t whole_row = int64_t{1} << 40;

Quantized activations(TensorView<const float, 2> x, int64_t group) {
  return by_groups(x, group, [](const float* values, int64_t count, Quantized& out) {
    const float maximum = absmax(values, count), inverse = 127.0f / maximum;
    const bool zero = std::isinf(inverse);
    out.scale.push_back(zero ? 0.0f : maximum / 127.0f);
    for (int64_t i = 0; i < count; ++i) {
      const float scaled = values[i] * inverse;
      out.q.push_back(zero ? 0 : half_to_even(scaled));
    }
  });
}

Quantized weights(TensorView<const float, 2> w, Scales scales) {
  const bool grouped = scales == Scales::per_group;
  return by_groups(w, grouped ? 128 : whole_row,
                   [&](const float* values, int64_t count, Quantized& out) {
                     float scale = absmax(values, count) / 127.0f;
                     if (grouped) scale = up_to_8_bits(scale);
                     out.scale.push_back(scale);
                     for (int64_t i = 0; i < count; ++i) {
                       const float quotient = scale == 0 ? 0 : values[i] / scale;
                       out.q.push_back(half_to_even(quotient));
                     }
                   });
}

/// The int8 linear of ops.h, with the products summed in double, where they are exact.
std::vector<float> expected_linear(TensorView<const float, 2> x, TensorView<const float, 2> w,
                                   TensorView<const float, 1> bias, Scales scales) {
  const int64_t rows = x.shape()[0], n = w.shape()[0], k = x.shape()[1];
  const int64_t group = scales == Scales::per_group ? 128 : whole_row;
  const int64_t groups = scales == Scales::per_group ? (k + 127) / 128 : 1;
  const Quantized a = activations(x, group), b = weights(w, scales);
  std::vector<float> y;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t col = 0; col < n; ++col) {
      float value = 0;
      for (int64_t g = 0; g < groups; ++g) {
        double sum = 0;
        for (int64_t i = g * group; i < std::min(k, (g + 1) * group); ++i)
          sum += a.q[row * k + i] * b.q[col * k + i];
        const float scale = a.scale[row * groups + g] * b.scale[col * groups + g];
        const auto part = static_cast<float>(sum);
        value = scales == Scales::per_group ? std::fma(part, scale, value) : part * scale;
      }
      y.push_back(bias.size() > 0 ? value + bias(col) : value);
    }
  return y;
}

/// The elements of y that differ from the expected ones in a bit (but for the sign of zero).
int64_t differences(TensorView<const float, 2> y, const std::vector<float>& expected) {
  int64_t count = 0;
  size_t i = 0;
  for (int64_t row = 0; row < y.shape()[0]; ++row)
    for (int64_t col = 0; col < y.shape()[1]; ++col)
      if (y(row, col) != expected[i++]) ++count;
  return count;
}

}  // namespace

TEST_CASE("the int8 linear is exact integer arithmetic under the scales") {
  Random random;
  for (Scales scales : {Scales::per_row, Scales::per_group})
    for (int64_t rows : {0, 1, 3, 18})
      for (int64_t out : {0, 1, 16, 37})
        for (int64_t in : {0, 1, 5, 127, 128, 129, 700}) {
          CAPTURE(rows);
          CAPTURE(out);
          CAPTURE(in);
          const auto x = random.tensor<2>({rows, in + 2}), w = random.tensor<2>({out, in + 7});
          const auto bias = random.tensor<1>({out});
          const auto x_view = x.view().slice(1, 1, in + 1), w_view = w.view().slice(1, 3, in + 3);
          const QuantizedMatrix matrix(w_view, scales);
          CHECK(matrix.shape() == Shape<2>{out, in});
          CHECK(matrix.scales() == scales);
          Strided y(rows, out);
          ops::linear(x_view, matrix, {}, y);
          CHECK(differences(y, expected_linear(x_view, w_view, {}, scales)) == 0);
          ops::linear(x_view, matrix, bias, y);
          CHECK(differences(y, expected_linear(x_view, w_view, bias, scales)) == 0);
          CHECK(y.gaps_untouched());
        }
}

TEST_CASE("the int8 linear at the largest inner dimension and the largest values") {
  const int64_t k = 131072;
  Tensor<float, 2> x({2, k}), w({3, k});
  x.fill(3.0f);
  w.fill(-2.0f);
  x(1, 5) = -3.0f;
  w(2, 7) = 1.0f;
  for (Scales scales : {Scales::per_row, Scales::per_group}) {
    Tensor<float, 2> y({2, 3});
    ops::linear(x, QuantizedMatrix(w, scales), {}, y);
    CHECK(differences(y, expected_linear(x, w, {}, scales)) == 0);
    CHECK(y(0, 0) == doctest::Approx(-6.0 * static_cast<double>(k)).epsilon(0.01));
  }
}

TEST_CASE("a row of the int8 linear does not depend on the other rows") {
  Random random;
  const auto x = random.tensor<2>({29, 300}), w = random.tensor<2>({50, 300});
  for (Scales scales : {Scales::per_row, Scales::per_group}) {
    const QuantizedMatrix matrix(w, scales);
    Tensor<float, 2> all({29, 50}), one({1, 50});
    ops::linear(x, matrix, {}, all);
    for (int64_t row = 0; row < 29; ++row) {
      ops::linear(x.view().slice(0, row, row + 1), matrix, {}, one);
      const auto alone = one.elements(), together = all.row(row).elements();
      CHECK(std::equal(alone.begin(), alone.end(), together.begin()));
    }
  }
}

TEST_CASE("a quantized matrix gives the weights back within half a scale") {
  Random random;
  for (Scales scales : {Scales::per_row, Scales::per_group})
    for (int64_t out : {0, 1, 16, 35})
      for (int64_t in : {0, 1, 3, 128, 333}) {
        auto w = random.tensor<2>({out, in});
        if (out > 4) w.row(4).fill(0);
        const Quantized expected = weights(w, scales);
        const int64_t groups = scales == Scales::per_row ? 1 : (in + 127) / 128;
        Strided back(out, in);
        const QuantizedMatrix copy = QuantizedMatrix(w, scales);  // outlives the one it is made of
        copy.dequantize(back);
        int64_t wrong = 0;
        for (int64_t row = 0; row < out; ++row)
          for (int64_t i = 0; i < in; ++i) {
            const float scale = expected.scale[row * groups + (groups > 1 ? i / 128 : 0)];
            const float value = back.view()(row, i);
            if (value != static_cast<float>(expected.q[row * in + i]) * scale) ++wrong;
            if (std::abs(value - w(row, i)) > scale * 0.5000001 + std::abs(w(row, i)) * 0x1p-23)
              ++wrong;
          }
        CHECK(wrong == 0);
        CHECK(back.gaps_untouched());
      }
}

TEST_CASE("a quantized matrix says what it takes") {
  const Tensor<float, 2> w({32, 256});
  CHECK(QuantizedMatrix(w).bytes() == 32 * 256 + 32 * 8);
  CHECK(QuantizedMatrix(w, Scales::per_group).bytes() == 32 * 256 + 32 * 2 * 4);
}

TEST_CASE("a quantized matrix refuses weights that are not finite or too many to sum") {
  Random random;
  for (Scales scales : {Scales::per_row, Scales::per_group})
    for (float bad : {infinity, -infinity, not_a_number}) {
      auto w = random.tensor<2>({40, 200});
      w(35, 150) = bad;
      const std::string message = invalid([&] { QuantizedMatrix(w, scales); });
      CHECK(contains(message, "w [40, 200]"));
      CHECK(contains(message, "row 35, column 150"));
    }
  const float value = 0;
  const TensorView<const float, 2> wide(&value, {1, 131073}, {0, 0});
  CHECK(contains(invalid([&] { QuantizedMatrix{wide}; }), "strides"));
  const Tensor<float, 2> long_row({1, 131073});
  const std::string message = invalid([&] { QuantizedMatrix{long_row}; });
  CHECK(contains(message, "131073"));
  CHECK(contains(message, "131072"));
}

TEST_CASE("the int8 linear refuses shapes that disagree, values not finite, and overlap") {
  Random random;
  const QuantizedMatrix w(random.tensor<2>({5, 8}));
  auto x = random.tensor<2>({3, 8});
  Tensor<float, 2> y({3, 5}), wide({3, 7});
  Tensor<float, 1> bias({4});
  CHECK(invalid([&] { ops::linear(wide, w, {}, y); }) ==
        "linear: dimension 1 of x [3, 7] is 7, expected 8, the columns of w");
  CHECK(invalid([&] { ops::linear(x, w, {}, wide); }) ==
        "linear: dimension 1 of y [3, 7] is 7, expected 5, the rows of w");
  CHECK(invalid([&] { ops::linear(x.view().slice(0, 0, 2), w, {}, y); }) ==
        "linear: dimension 0 of x [2, 8] is 2, dimension 0 of y [3, 5] is 3");
  CHECK(invalid([&] { ops::linear(x, w, bias, y); }) ==
        "linear: dimension 0 of bias [4] is 4, expected 5, the rows of w");
  CHECK(contains(invalid([&] { ops::linear(x, w, {}, x.view().slice(1, 0, 5)); }), "overlaps x"));
  CHECK(invalid([&] { w.dequantize(x); }) ==
        "QuantizedMatrix::dequantize: dimension 0 of w [3, 8] is 3, expected 5, as the matrix has");
  for (float bad : {infinity, not_a_number}) {
    x(1, 6) = bad;
    y.fill(9);
    CHECK(contains(invalid([&] { ops::linear(x, w, {}, y); }), "row 1 of x [3, 8]"));
    CHECK(y(0, 0) == 9);  // nothing was written
  }
}

TEST_CASE("quantize rounds to nearest, half to even, a row or a group at a time") {
  Random random;
  for (int64_t rows : {0, 1, 7})
    for (int64_t cols : {0, 1, 2, 3, 4, 127, 128, 129, 300}) {
      CAPTURE(rows);
      CAPTURE(cols);
      auto x = random.tensor<2>({rows, cols});
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t i = 0; i < cols; ++i) {
          if (row == 2) x(row, i) = 0;
          if (row == 3) x(row, i) = i % 128 == 0 ? 127.0f : static_cast<float>(i % 100) + 0.5f;
          if (row == 4) x(row, i) *= 1e-38f;
          if (row == 5) x(row, i) *= 1e37f;
        }
      const int64_t groups = (cols + 127) / 128;
      Tensor<float, 1> scale({rows});
      Strided<float> group_scale(rows, groups);
      Strided<int8_t> q(rows, cols);
      Strided back(rows, cols);
      const auto check = [&](const Quantized& expected, auto scale_of) {
        int64_t wrong = 0;
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t i = 0; i < cols; ++i) {
            const auto value = static_cast<float>(expected.q[row * cols + i]);
            if (q.view()(row, i) != value) ++wrong;
            if (back.view()(row, i) != value * scale_of(row, i)) ++wrong;
          }
        CHECK(wrong == 0);
        CHECK(q.gaps_untouched());
        CHECK(back.gaps_untouched());
      };
      const Quantized by_row = activations(x, whole_row), by_group = activations(x, 128);
      ops::quantize(x, scale, q);
      ops::dequantize(q, scale, back);
      CHECK(std::equal(by_row.scale.begin(), by_row.scale.end(), scale.elements().begin()));
      check(by_row, [&](int64_t row, int64_t) { return by_row.scale[row]; });
      ops::quantize(x, group_scale, q);
      ops::dequantize(q, group_scale, back);
      CHECK(differences(group_scale, by_group.scale) == 0);
      CHECK(group_scale.gaps_untouched());
      check(by_group,
            [&](int64_t row, int64_t i) { return by_group.scale[row * groups + i / 128]; });
    }
}

TEST_CASE("quantize and dequantize refuse shapes that disagree, values not finite, and overlap") {
  Random random;
  auto x = random.tensor<2>({3, 200});
  Tensor<int8_t, 2> q({3, 200}), narrow({3, 100});
  Tensor<float, 1> scale({3}), short_scale({2});
  Tensor<float, 2> groups({3, 2}), more_groups({3, 3});
  CHECK(invalid([&] { ops::quantize(x, scale, narrow); }) ==
        "quantize: dimension 1 of x [3, 200] is 200, dimension 1 of q [3, 100] is 100");
  CHECK(invalid([&] { ops::quantize(x, short_scale, q); }) ==
        "quantize: dimension 0 of x [3, 200] is 3, dimension 0 of scale [2] is 2");
  CHECK(invalid([&] { ops::quantize(x, more_groups, q); }) ==
        "quantize: dimension 1 of scale [3, 3] is 3, expected 2, a group of 128 columns of x each");
  CHECK(contains(invalid([&] { ops::dequantize(narrow, scale, x); }), "q [3, 100]"));
  CHECK(contains(invalid([&] { ops::dequantize(q, short_scale, x); }), "scale [2]"));
  CHECK(contains(invalid([&] { ops::dequantize(q, more_groups, x); }), "scale [3, 3]"));
  CHECK(contains(invalid([&] { ops::quantize(x.view().transpose(), scale, q.view().transpose()); }),
                 "dimension 0"));
  Tensor<float, 1> scales_of_columns({200});
  CHECK(contains(invalid([&] {
                   ops::quantize(x.view().transpose(), scales_of_columns, q.view().transpose());
                 }),
                 "x [200, 3] has strides [1, 200]"));
  TensorView<float, 1> inside(x.data(), {3});
  CHECK(contains(invalid([&] { ops::quantize(x, inside, q); }), "scale [3]"));
  CHECK(contains(invalid([&] { ops::dequantize(q, inside, x); }), "overlaps scale"));
  TensorView<int8_t, 2> bytes(reinterpret_cast<int8_t*>(x.data()), {3, 200});
  CHECK(contains(invalid([&] { ops::quantize(x, scale, bytes); }), "overlaps x"));
  for (float bad : {infinity, -infinity, not_a_number}) {
    x(2, 199) = bad;
    CHECK(contains(invalid([&] { ops::quantize(x, scale, q); }), "row 2 of x [3, 200]"));
    CHECK(contains(invalid([&] { ops::quantize(x, groups, q); }), "row 2 of x [3, 200]"));
  }
}

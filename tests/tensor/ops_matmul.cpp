// matmul and the fp32 linear against sums in double.
#include <octet/ops.h>

#include <cmath>
#include <limits>

#include "tests/tensor/support.h"

using namespace octet;
using namespace octet::testing;

namespace {

using Matrix = TensorView<const float, 2>;

/// The elements where y is further from a b + bias than fp32 sums of k products in any order can
/// be.
int64_t wrong_elements(Matrix a, Matrix b, TensorView<const float, 1> bias, Matrix y) {
  int64_t wrong = 0;
  const int64_t k = a.shape()[1];
  for (int64_t row = 0; row < y.shape()[0]; ++row)
    for (int64_t col = 0; col < y.shape()[1]; ++col) {
      double exact = 0, magnitude = 0;
      for (int64_t i = 0; i < k; ++i) {
        exact += double{a(row, i)} * b(i, col);
        magnitude += std::abs(double{a(row, i)} * b(i, col));
      }
      if (bias.size() > 0) exact += bias(col), magnitude += std::abs(bias(col));
      const double bound = static_cast<double>(k + 2) * std::ldexp(magnitude, -24);
      if (!(std::abs(y(row, col) - exact) <= bound)) ++wrong;
    }
  return wrong;
}

void check_matmul(Matrix a, Matrix b) {
  CAPTURE(detail::to_text(a.shape()));
  CAPTURE(detail::to_text(a.strides()));
  CAPTURE(detail::to_text(b.shape()));
  CAPTURE(detail::to_text(b.strides()));
  Strided c(a.shape()[0], b.shape()[1]);
  c.view().fill(std::numeric_limits<float>::quiet_NaN());  // what was there must not matter
  ops::matmul(a, b, c);
  CHECK(wrong_elements(a, b, {}, c) == 0);
  CHECK(c.gaps_untouched());
}

}  // namespace

TEST_CASE("matmul is the sum of products, however its operands lie in memory") {
  Random random;
  for (int64_t m : {0, 1, 2, 5, 33})
    for (int64_t n : {0, 1, 3, 40})
      for (int64_t k : {0, 1, 2, 7, 64, 129}) {
        const auto a = random.tensor<2>({m, k}), a_t = random.tensor<2>({k, m});
        const auto b = random.tensor<2>({k, n}), b_t = random.tensor<2>({n, k});
        const auto wide_a = random.tensor<2>({m, k + 9}), wide_b = random.tensor<2>({k + 2, n + 5});
        for (Matrix left : {a.view(), a_t.view().transpose(), wide_a.view().slice(1, 4, k + 4)})
          for (Matrix right : {b.view(), b_t.view().transpose(),
                               wide_b.view().slice(0, 1, k + 1).slice(1, 2, n + 2)})
            check_matmul(left, right);
      }
}

TEST_CASE("matmul over a large inner dimension") {
  Random random;
  const auto a = random.tensor<2>({3, 50000}), b = random.tensor<2>({5, 50000});
  check_matmul(a, b.view().transpose());
  check_matmul(a.view().slice(0, 0, 1), b.view().transpose());
}

TEST_CASE("matmul takes rows that repeat or overlap") {
  Random random;
  const auto values = random.tensor<1>({200}).clone();
  const auto b = random.tensor<2>({6, 8});
  const Matrix repeated(values.data(), {4, 6}, {0, 1});
  const Matrix windows(values.data(), {20, 6}, {2, 1});  // a convolution's
  const Matrix constant(values.data(), {4, 6}, {0, 0});
  for (Matrix a : {repeated, windows, constant}) {
    check_matmul(a, b);
    check_matmul(b.view().transpose(), a.transpose());
  }
  check_matmul(b.view().slice(1, 2, 3).transpose(), b);  // a column as a row
}

TEST_CASE("the fp32 linear multiplies by the transposed weights and adds the bias") {
  Random random;
  for (int64_t rows : {0, 1, 4, 19})
    for (int64_t out : {0, 1, 17})
      for (int64_t in : {0, 1, 100}) {
        CAPTURE(rows);
        CAPTURE(out);
        CAPTURE(in);
        const auto x = random.tensor<2>({rows, in}), w = random.tensor<2>({out, in});
        const auto bias = random.tensor<1>({out});
        Strided y(rows, out);
        ops::linear(x, w, {}, y);
        CHECK(wrong_elements(x, w.view().transpose(), {}, y) == 0);
        ops::linear(x, w, bias, y);
        CHECK(wrong_elements(x, w.view().transpose(), bias, y) == 0);
        CHECK(y.gaps_untouched());
      }
}

TEST_CASE("matmul and linear name the operands and extents that disagree") {
  Tensor<float, 2> a({2, 3}), b({4, 5}), c({2, 5});
  const std::string inner = invalid([&] { ops::matmul(a, b, c); });
  CHECK(inner == "matmul: dimension 1 of a [2, 3] is 3, dimension 0 of b [4, 5] is 4");
  const std::string rows = invalid([&] { ops::matmul(a.view().transpose(), c, b); });
  CHECK(rows == "matmul: dimension 0 of a [3, 2] is 3, dimension 0 of c [4, 5] is 4");
  const std::string columns = invalid([&] { ops::matmul(a, a.view().transpose(), c); });
  CHECK(columns == "matmul: dimension 1 of b [3, 2] is 2, dimension 1 of c [2, 5] is 5");

  Tensor<float, 2> x({2, 3}), w({5, 3}), y({2, 5});
  Tensor<float, 1> bias({4});
  CHECK(invalid([&] { ops::linear(x, y, {}, y); }) ==
        "linear: dimension 1 of x [2, 3] is 3, dimension 1 of w [2, 5] is 5");
  CHECK(invalid([&] { ops::linear(w, w, {}, y); }) ==
        "linear: dimension 0 of x [5, 3] is 5, dimension 0 of y [2, 5] is 2");
  CHECK(invalid([&] { ops::linear(x, x, {}, y); }) ==
        "linear: dimension 0 of w [2, 3] is 2, dimension 1 of y [2, 5] is 5");
  CHECK(invalid([&] { ops::linear(x, w, bias, y); }) ==
        "linear: dimension 0 of w [5, 3] is 5, dimension 0 of bias [4] is 4");
}

TEST_CASE("matmul refuses what BLAS cannot count") {
  float value = 0;
  constexpr int64_t large = int64_t{1} << 31;
  const Matrix column(&value, {1, large}, {0, 0}), row(&value, {large, 1}, {0, 0});
  Tensor<float, 2> c({1, 1});
  const std::string extent = invalid([&] { ops::matmul(column, row, c); });
  CHECK(contains(extent, "dimension 1 of a [1, 2147483648] is 2147483648"));
  CHECK(contains(extent, "2147483647"));
  const Matrix apart(&value, {2, 1}, {large, 1}), one(&value, {1, 2});
  Tensor<float, 2> four({2, 2});
  CHECK(contains(invalid([&] { ops::matmul(apart, one, four); }),
                 "stride 0 of a [2, 1] is 2147483648"));
}

TEST_CASE("matmul refuses strides without a 1 and outputs over an operand or over themselves") {
  Random random;
  auto memory = random.tensor<2>({12, 12});
  const Matrix gaps(memory.data(), {3, 3}, {12, 2});
  const Matrix a(memory.data(), {3, 3}, {12, 1});
  Tensor<float, 2> c({3, 3});
  CHECK(contains(invalid([&] { ops::matmul(a, gaps, c); }), "b [3, 3] has strides [12, 2]"));
  CHECK(contains(invalid([&] { ops::matmul(a, a, c.view().transpose()); }),
                 "c [3, 3] has strides [1, 3]"));
  const auto at = [&](int64_t row, int64_t col) {
    return TensorView<float, 2>(&memory(row, col), {3, 3}, {12, 1});
  };
  const std::string same = invalid([&] { ops::matmul(a, c, at(0, 0)); });
  CHECK(contains(same, "c [3, 3]"));
  CHECK(contains(same, "overlaps a [3, 3]"));
  CHECK(contains(invalid([&] { ops::matmul(c, a, at(2, 2)); }), "overlaps b [3, 3]"));
  invalid([&] { ops::matmul(a, c, at(2, 0)); });
  ops::matmul(a, c, at(0, 3));  // columns beside a
  ops::matmul(a, c, at(3, 0));  // rows after a
  // Its first row is beside a's, its second, by another stride, is not.
  const TensorView<float, 2> drifting(&memory(0, 3), {3, 3}, {11, 1});
  CHECK(contains(invalid([&] { ops::matmul(a, c, drifting); }), "overlaps a [3, 3]"));
  const TensorView<float, 2> itself(c.data(), {3, 3}, {2, 1});
  CHECK(contains(invalid([&] { ops::matmul(a, a, itself); }), "share memory"));
}

// Rounding with feedback against the naive form of GPTQ in double, and against rounding to nearest.
#include "quant/gptq.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "kernels/table.h"
#include "lib/convert/moments.h"
#include "quant/quantize.h"

using namespace octet;
using quant::Feedback;

namespace {

using Doubles = std::vector<double>;

std::vector<float> random_values(size_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<float> values(count);
  for (float& value : values)
    value = static_cast<float>(generator() % 2'000'001) / 1'000'000.0f - 1.0f;
  return values;
}

/// Inputs [rows, k] whose channels depend on each other.
std::vector<float> inputs(int64_t rows, int64_t k, uint32_t seed) {
  std::vector<float> x = random_values(static_cast<size_t>(rows * k), seed);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 1; i < k; ++i) x[r * k + i] += 0.7f * x[r * k + i - 1];
  return x;
}

/// X^T X + damping as Moments defines it, in double.
Doubles damped_hessian(const std::vector<float>& x, int64_t k) {
  Doubles h(static_cast<size_t>(k * k));
  for (size_t row = 0; row < x.size(); row += static_cast<size_t>(k))
    for (int64_t i = 0; i < k; ++i)
      for (int64_t j = 0; j < k; ++j) h[i * k + j] += double{x[row + i]} * x[row + j];
  double trace = 0;
  for (int64_t i = 0; i < k; ++i) trace += h[i * k + i];
  const double added = trace > 0 ? 0.01 * trace / static_cast<double>(k) : 1;
  for (int64_t i = 0; i < k; ++i) h[i * k + i] += added;
  return h;
}

Feedback feedback_of(const std::vector<float>& x, int64_t k, int threads = 1) {
  ThreadPool pool(threads);
  Moments moments(k);
  const auto rows = static_cast<int64_t>(x.size()) / k;
  const int64_t half = rows / 2;  // in two calls
  moments.add(x.data(), half, k, pool);
  moments.add(x.data() + half * k, rows - half, k, pool);
  return std::move(moments).factor(pool);
}

/// The inverse of a positive definite matrix, by Gauss and Jordan.
Doubles inverse(Doubles a, int64_t k) {
  Doubles b(a.size());
  for (int64_t i = 0; i < k; ++i) b[i * k + i] = 1;
  for (int64_t p = 0; p < k; ++p) {
    const double pivot = a[p * k + p];
    for (int64_t j = 0; j < k; ++j) a[p * k + j] /= pivot, b[p * k + j] /= pivot;
    for (int64_t i = 0; i < k; ++i) {
      const double factor = a[i * k + p];
      if (i == p || factor == 0) continue;
      for (int64_t j = 0; j < k; ++j)
        a[i * k + j] -= factor * a[p * k + j], b[i * k + j] -= factor * b[p * k + j];
    }
  }
  return b;
}

/// GPTQ as in its paper: after each column, the rest of the row takes up the error by the inverse
/// Hessian of the columns that are left. Returns q.
std::vector<int> naive_gptq(Doubles w, const Doubles& h, int64_t k, double scale) {
  std::vector<int> q;
  Doubles rest_inverse = inverse(h, k);
  for (int64_t i = 0; i < k; ++i) {
    q.push_back(static_cast<int>(std::clamp(std::nearbyint(w[i] / scale), -127.0, 127.0)));
    const double error = (w[i] - q.back() * scale) / rest_inverse[i * k + i];
    for (int64_t j = i + 1; j < k; ++j) w[j] -= error * rest_inverse[i * k + j];
    const Doubles before = rest_inverse;  // takes column i out (its equation 3)
    for (int64_t a = i + 1; a < k; ++a)
      for (int64_t b = i + 1; b < k; ++b)
        rest_inverse[a * k + b] -= before[a * k + i] * before[i * k + b] / before[i * k + i];
  }
  return q;
}

/// e H e^T of one row.
double loss(const float* w, const int8_t* q, double scale, const Doubles& h, int64_t k) {
  double sum = 0;
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < k; ++j)
      sum += (w[i] - scale * q[i]) * h[i * k + j] * (w[j] - scale * q[j]);
  return sum;
}

}  // namespace

TEST_CASE("the factor of the moments is U D U^T of the damped Hessian, for any number of threads") {
  for (int64_t k : {1, 5, 64, 256, 257, 600}) {
    CAPTURE(k);
    const std::vector<float> x = inputs(k / 2 + 3, k, 1);  // fewer inputs than channels, mostly
    const Doubles h = damped_hessian(x, k);
    const Feedback got = feedback_of(x, k);
    const auto u = [&](int64_t i, int64_t j) {
      return i == j ? 1.0 : i < j ? double{got.upper[i * k + j]} : 0.0;
    };
    // D from the last column of each leading part: D_j = H_jj - sum over m > j of U_jm^2 D_m.
    Doubles d(static_cast<size_t>(k));
    for (int64_t j = k - 1; j >= 0; --j) {
      d[j] = h[j * k + j];
      for (int64_t m = j + 1; m < k; ++m) d[j] -= u(j, m) * u(j, m) * d[m];
    }
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < k; i += 7)
      for (int64_t j = i; j < k; ++j) {
        double product = 0;
        for (int64_t m = j; m < k; ++m) product += u(i, m) * d[m] * u(j, m);
        worst = std::max(worst, std::abs(product - h[i * k + j]));
        largest = std::max(largest, std::abs(h[i * k + j]));
      }
    CHECK(worst < 1e-5 * largest);
    CHECK(feedback_of(x, k, 3).upper == got.upper);
  }
}

TEST_CASE("moments can be scaled and rotated after they were taken") {
  ThreadPool pool(2);
  for (const auto& size : {std::pair<int64_t, int64_t>{6, 2}, {64, 64}, {576, 64}, {300, 75}}) {
    const int64_t k = size.first, block = size.second;
    CAPTURE(k);
    const int64_t rows = 20;
    const std::vector<float> x = inputs(rows, k, 8);
    const quant::Rotation rotation(block, kernels::hadamard_f32_ref);
    std::vector<float> scale = random_values(static_cast<size_t>(k), 9), transformed = x;
    for (float& value : scale) value = std::exp(value);
    for (size_t i = 0; i < x.size(); ++i) transformed[i] *= scale[i % static_cast<size_t>(k)];
    rotation.apply(transformed.data(), rows * k / block);
    Moments before(k), after(k);
    before.add(x.data(), rows, k, pool);
    before.transform(scale, rotation, pool);
    after.add(transformed.data(), rows, k, pool);
    const Feedback got = std::move(before).factor(pool), expected = std::move(after).factor(pool);
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < k; ++i) {
      CHECK(got.importance[i] == doctest::Approx(expected.importance[i]).epsilon(1e-4));
      for (int64_t j = i + 1; j < k; ++j) {
        worst = std::max(worst, std::abs(double{got.upper[i * k + j]} - expected.upper[i * k + j]));
        largest = std::max(largest, std::abs(double{expected.upper[i * k + j]}));
      }
    }
    CHECK(worst < 1e-3 * std::max(1.0, largest));
  }
}

TEST_CASE("moments tell inputs that are not finite") {
  ThreadPool pool(1);
  for (float value : {NAN, INFINITY, 1e30f}) {
    Moments moments(3);
    const float x[] = {1, value, 2};
    CHECK(moments.finite());
    moments.add(x, 1, 3, pool);
    CHECK_FALSE(moments.finite());
  }
}

TEST_CASE("rounding with feedback is GPTQ") {
  for (int64_t k : {1, 7, 64, 150}) {
    CAPTURE(k);
    const std::vector<float> x = inputs(3 * k, k, 2);
    const Doubles h = damped_hessian(x, k);
    const Feedback feedback = feedback_of(x, k);
    constexpr int64_t rows = 5;
    const std::vector<float> w = random_values(static_cast<size_t>(rows * k), 3);
    std::vector<int8_t> q(w.size());
    std::vector<float> scale(rows);
    quant::round_rows(w.data(), rows, k, feedback, q.data(), scale.data());
    int different = 0;
    double got = 0, naive = 0;
    for (int64_t row = 0; row < rows; ++row) {
      const std::vector<int> expected =
          naive_gptq({w.begin() + row * k, w.begin() + (row + 1) * k}, h, k, scale[row]);
      std::vector<int8_t> bytes(expected.begin(), expected.end());
      for (int64_t i = 0; i < k; ++i) different += expected[i] != q[row * k + i];
      got += loss(w.data() + row * k, q.data() + row * k, scale[row], h, k);
      naive += loss(w.data() + row * k, bytes.data(), scale[row], h, k);
    }
    // A quotient near a half may fall to either side in fp32; what follows then differs by one.
    CHECK(different <= rows * k / 20);
    CHECK(got <= naive * 1.02);
  }
}

TEST_CASE("rounding with feedback changes the output less than rounding to nearest") {
  constexpr int64_t k = 300, rows = 24;  // two groups of 128 and a shorter one
  const std::vector<float> x = inputs(500, k, 4);
  const Doubles h = damped_hessian(x, k);
  const Feedback feedback = feedback_of(x, k);
  const std::vector<float> w = random_values(rows * k, 5);
  std::vector<int8_t> q(w.size()), nearest(w.size());
  std::vector<float> scale(rows), nearest_scale(rows);
  quant::round_rows(w.data(), rows, k, feedback, q.data(), scale.data());
  quant::quantize_rows(w.data(), rows, k, nearest.data(), nearest_scale.data());
  double sum = 0, nearest_sum = 0;
  for (int64_t row = 0; row < rows; ++row) {
    sum += loss(w.data() + row * k, q.data() + row * k, scale[row], h, k);
    nearest_sum += loss(w.data() + row * k, nearest.data() + row * k, nearest_scale[row], h, k);
  }
  MESSAGE("loss with feedback over loss to nearest: ", sum / nearest_sum);
  CHECK(sum < 0.7 * nearest_sum);

  std::vector<uint16_t> group_scale(rows * 3);
  quant::round_rows_grouped(w.data(), rows, k, feedback, q.data(), group_scale.data());
  double grouped_sum = 0;
  for (int64_t row = 0; row < rows; ++row) {  // e as weights of scale 0
    std::vector<float> error;
    for (int64_t i = 0; i < k; ++i)
      error.push_back(w[row * k + i] -
                      quant::bfloat16_value(group_scale[row * 3 + i / 128]) * q[row * k + i]);
    grouped_sum += loss(error.data(), q.data(), 0, h, k);
  }
  CHECK(grouped_sum < 0.7 * nearest_sum);
}

TEST_CASE("degenerate weights and inputs stay in range") {
  constexpr int64_t k = 130, rows = 6;
  std::vector<float> w(rows * k);  // row 0: zeros
  for (int64_t i = 0; i < k; ++i) {
    w[k + i] = 1e-45f;                          // smaller than any scale
    w[2 * k + i] = i == 77 ? 1e30f : 1e-3f;     // one huge value
    w[3 * k + i] = 0.25f;                       // all equal
    w[4 * k + i] = i % 2 ? 3e38f : -3e38f;      // near overflow
    w[5 * k + i] = static_cast<float>(i) - 60;  // an ordinary one
  }
  for (const std::vector<float>& x :
       {std::vector<float>(k), inputs(1, k, 6), std::vector<float>(4 * k, 1.0f)}) {
    const Feedback feedback = feedback_of(x, k);
    for (float value : feedback.upper) CHECK(std::isfinite(value));
    std::vector<int8_t> q(w.size());
    std::vector<float> scale(rows);
    std::vector<uint16_t> group_scale(rows * 2);
    quant::round_rows(w.data(), rows, k, feedback, q.data(), scale.data());
    CHECK(*std::min_element(q.begin(), q.end()) >= -127);
    CHECK(std::all_of(q.begin(), q.begin() + 2 * k, [](int8_t value) { return value == 0; }));
    CHECK(scale[0] == 0);
    CHECK(q[2 * k + 77] == 127);
    for (float value : scale) CHECK(std::isfinite(value));
    for (int64_t i = 0; i < k; ++i) CHECK(std::abs(w[5 * k + i] - scale[5] * q[5 * k + i]) < 8);
    quant::round_rows_grouped(w.data(), rows, k, feedback, q.data(), group_scale.data());
    CHECK(*std::min_element(q.begin(), q.end()) >= -127);
    CHECK(group_scale[0] == 0);
  }
}

// Attention, every variant, against softmax(q k^T * scale) v in double.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "tests/kernels/attention_cache.h"

using namespace octet::kernels;

namespace {

/// A row's output in double, and how far its kernel's may be from it.
struct Expected {
  std::vector<double> out, tolerance;
};

std::vector<double> weights(const std::vector<double>& q, const std::vector<double>& keys,
                            int64_t length, float scale) {
  std::vector<double> weights;
  for (int64_t j = 0; j < length; ++j) {
    double sum = 0;
    for (size_t i = 0; i < q.size(); ++i) sum += q[i] * keys[static_cast<size_t>(j) * q.size() + i];
    weights.push_back(sum * scale);
  }
  const double max = *std::max_element(weights.begin(), weights.end());
  double total = 0;
  for (double& weight : weights) total += weight = std::exp(weight - max);
  for (double& weight : weights) weight /= total;
  return weights;
}

/// Over exactly what the kernel sees: of integers, the dequantized rows.
Expected expected_row(const Cache& cache, Type type, const float* q, int64_t length, float scale) {
  const auto d = static_cast<size_t>(cache.d);
  const bool integers = has_integers(type);
  const Quantized query(q, 1, cache.d, type), keys(cache.keys.data(), length, cache.d, type),
      values(cache.values.data(), length, cache.d, type);
  const auto doubles = [](const float* x, size_t n) { return std::vector<double>(x, x + n); };
  const std::vector<double> w =
      integers
          ? weights(query.values, keys.values, length, scale)
          : weights(doubles(q, d), doubles(cache.keys.data(), cache.keys.size()), length, scale);
  const std::vector<double> v =
      integers ? values.values : doubles(cache.values.data(), cache.values.size());
  Expected expected{std::vector<double>(d), std::vector<double>(d, 4e-6)};
  for (size_t j = 0; j < w.size(); ++j)
    for (size_t i = 0; i < d; ++i) expected.out[i] += w[j] * v[j * d + i];
  if (!integers) return expected;
  // Weight times scale is rounded to a multiple of a 255th, or 4095th, of the block's largest.
  const double levels = type == Type::s8 ? 255 : 4095;
  for (size_t begin = 0; begin < w.size(); begin += kv_block) {
    const size_t end = std::min(begin + kv_block, w.size());
    double largest = 0;
    for (size_t j = begin; j < end; ++j) largest = std::max(largest, w[j] * values.scales[j]);
    for (size_t j = begin; j < end; ++j)
      for (size_t i = 0; i < d; ++i)
        expected.tolerance[i] += largest / levels / 2 * std::abs(values.q[j * d + i]);
  }
  return expected;
}

/// The largest error in units of what is allowed; infinity for NaN.
double worst_error(const float* got, const Expected& expected) {
  double worst = 0;
  for (size_t i = 0; i < expected.out.size(); ++i) {
    const double error = std::fabs(got[i] - expected.out[i]) / expected.tolerance[i];
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  return worst;
}

}  // namespace

TEST_CASE("attention is softmax(q k^T scale) v over each row's length") {
  for (int64_t head_dim : {2, 8, 20, 32, 64, 80, 128, 200})
    for (int64_t longest : {1, 3, 4, 63, 64, 65, 128, 200, 511, 512, 513, 1000}) {
      const Cache cache(longest, head_dim, 1);
      const int64_t rows = 7;
      const std::vector<float> q = some_queries(rows * head_dim);
      std::vector<int64_t> lengths = {longest,
                                      1,
                                      longest / 2 + 1,
                                      longest,
                                      longest / 3 + 1,
                                      longest,
                                      std::max<int64_t>(1, longest - 1)};
      const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
      for (const Op& op : ops) {
        std::vector<Expected> expected;
        for (int64_t row = 0; row < rows; ++row)
          expected.push_back(
              expected_row(cache, op.type, q.data() + row * head_dim, lengths[row], scale));
        for (const auto& kernel : runnable_rows<AttentionFunction>(op.name)) {
          const std::string name = kernel.name + ", head_dim " + std::to_string(head_dim) +
                                   ", length " + std::to_string(longest);
          const auto all = run(kernel, op.type, cache, q, lengths, 0, rows, scale);
          for (int64_t row = 0; row < rows; ++row) {
            CHECK_MESSAGE(worst_error(all.data() + row * (head_dim + 1), expected[row]) <= 1, name);
            const auto alone = run(kernel, op.type, cache, q, lengths, row, 1, scale);
            CHECK_MESSAGE(std::memcmp(alone.data(), all.data() + row * (head_dim + 1),
                                      sizeof(float) * static_cast<size_t>(head_dim)) == 0,
                          name << ": a row alone differs");
          }
        }
      }
    }
}

TEST_CASE(
    "attention over integers rounds weights evenly: the mean error is that of independent "
    "roundings") {
  const int64_t head_dim = 128, length = 1000, rows = 24;
  const Cache cache(length, head_dim, 5);
  const std::vector<float> q = some_queries(rows * head_dim);
  const std::vector<int64_t> lengths(rows, length);
  for (const Op& op : ops) {
    if (!has_integers(op.type)) continue;
    for (const auto& kernel : runnable_rows<AttentionFunction>(op.name)) {
      const auto got = run(kernel, op.type, cache, q, lengths, 0, rows, 0.02f);
      double squares = 0, variance = 0, sum = 0;
      for (int64_t row = 0; row < rows; ++row) {
        const float* query = q.data() + row * head_dim;
        const Expected expected = expected_row(cache, op.type, query, length, 0.02f);
        for (int64_t i = 0; i < head_dim; ++i) {
          const double error = got[row * (head_dim + 1) + i] - expected.out[i];
          squares += error * error;
          sum += error;
          // tolerance is the sum over positions of half a step times |v|. A rounding's variance is
          // step^2 / 12, so with |v|'s mean square 4/3 of its squared mean, and `length` of them:
          const double half = expected.tolerance[i] / length;
          variance += length * half * half / 3 * 4 / 3;
        }
      }
      CAPTURE(kernel.name);
      CHECK(squares < 1.5 * variance);
      CHECK(squares > 0.5 * variance);  // it is the roundings that are seen
      CHECK(std::fabs(sum) < 6 * std::sqrt(variance));
    }
  }
}

TEST_CASE("attention holds where scores are far apart") {
  // One key wins by more than exp can express; later blocks raise the maximum again.
  const int64_t head_dim = 64, length = 150;
  Cache cache(length, head_dim, 3);
  std::vector<float> q(static_cast<size_t>(head_dim), 0.0f);
  q[0] = 100.0f;
  for (int64_t j = 0; j < length; ++j) cache.keys[j * head_dim] = static_cast<float>(j - 75);
  for (const Op& op : ops)
    for (const auto& kernel : runnable_rows<AttentionFunction>(op.name)) {
      const auto out = run(kernel, op.type, cache, q, {length}, 0, 1, 1.0f);
      const float* last = cache.values.data() + (length - 1) * head_dim;
      const Quantized quantized(last, 1, head_dim, op.type);
      for (int64_t d = 0; d < head_dim; ++d)
        CHECK_MESSAGE(
            out[d] == doctest::Approx(has_integers(op.type) ? quantized.values[d] : last[d]),
            kernel.name);
    }
}

TEST_CASE("attention split by spans, and with any other rows, is the same bits") {
  const int64_t longest = 1100;
  const float scale = 0.1f;
  // Lengths on both sides of a span's end: some rows have nothing in the spans of others.
  std::vector<int64_t> lengths;
  for (int64_t row = 0; row < 200; ++row) lengths.push_back(row * 389 % longest + 1);
  for (int64_t row = 50; row < 90; ++row) lengths[static_cast<size_t>(row)] = 470 + row;
  for (int64_t head_dim : {80, 128}) {
    const Cache cache(longest, head_dim, 4);
    const std::vector<float> q = some_queries(200 * head_dim);
    for (const Op& op : ops)
      for (const auto& kernel : runnable_rows<AttentionFunction>(op.name)) {
        const auto all = run(kernel, op.type, cache, q, lengths, 0, 200, scale);
        for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 13, 16, 100, 200}) {
          const auto some = run(kernel, op.type, cache, q, lengths, 200 - rows, rows, scale, true);
          const size_t size = some.size();
          CHECK_MESSAGE(
              std::memcmp(some.data(), all.data() + all.size() - size, size * sizeof(float)) == 0,
              kernel.name << ", " << rows << " rows");
        }
      }
  }
}

TEST_CASE("a query that is not finite makes a result that is not finite, of its row alone") {
  const int64_t head_dim = 64, length = 600, rows = 18;
  const Cache cache(length, head_dim, 6);
  const std::vector<int64_t> lengths(rows, length);
  for (float bad : {INFINITY, -INFINITY, NAN})
    for (const Op& op : ops)
      for (const auto& kernel : runnable_rows<AttentionFunction>(op.name)) {
        std::vector<float> q = some_queries(rows * head_dim);
        q[5] = bad;
        const auto out = run(kernel, op.type, cache, q, lengths, 0, rows, 0.1f);
        CHECK_MESSAGE(std::isnan(out[0]), kernel.name);
        for (int64_t row = 1; row < rows; ++row)
          for (int64_t i = 0; i < head_dim; ++i)
            CHECK_MESSAGE(std::isfinite(out[row * (head_dim + 1) + i]), kernel.name);
      }
}

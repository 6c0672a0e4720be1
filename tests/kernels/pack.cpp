// Packing and weight quantization (quant/): against the layout's formula and arithmetic in double.
#include "quant/pack.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "lib/core/error.h"
#include "quant/quantize.h"

using namespace octet;
using namespace octet::kernels;

namespace {

std::vector<int8_t> random_bytes(int64_t count) {
  std::mt19937 generator(3);
  std::vector<int8_t> bytes(count);
  for (int8_t& value : bytes) value = static_cast<int8_t>(generator());
  return bytes;
}

std::vector<float> random_weights(int64_t count, float magnitude) {
  std::mt19937 generator(5);
  std::vector<float> weights(count);
  for (float& value : weights)
    value = (static_cast<float>(generator() % 2000001) / 1000000.0f - 1.0f) * magnitude;
  return weights;
}

struct Matrix {
  int64_t rows, k;
};
constexpr Matrix matrices[] = {{1, 1},    {1, 4},    {15, 3},  {16, 16},  {17, 5},   {32, 128},
                               {33, 129}, {48, 255}, {5, 256}, {16, 257}, {100, 515}};

}  // namespace

TEST_CASE("packed[t][c][r][j] is W[16 t + r][4 c + j], zero outside W") {
  for (const Matrix& matrix : matrices) {
    const int64_t rows = matrix.rows, k = matrix.k;
    const auto q = random_bytes(rows * k);
    std::vector<int8_t> packed(quant::packed_bytes(rows, k) + 1, 55);
    quant::pack_rows(q.data(), rows, k, packed.data());
    bool equal = true;
    for (int64_t row = 0; row < padded_n(rows); ++row)
      for (int64_t i = 0; i < padded_k(k); ++i) {
        const int64_t at = row / 16 * 16 * padded_k(k) + i / 4 * 64 + row % 16 * 4 + i % 4;
        equal = equal && packed[at] == (row < rows && i < k ? q[row * k + i] : 0);
      }
    CHECK_MESSAGE(equal, rows << " x " << k);
    CHECK(packed.back() == 55);
  }
}

TEST_CASE("unpack_row gives back every row") {
  for (const auto& [rows, k] : matrices) {
    const auto q = random_bytes(rows * k);
    std::vector<int8_t> packed(quant::packed_bytes(rows, k));
    quant::pack_rows(q.data(), rows, k, packed.data());
    for (int64_t row = 0; row < rows; ++row) {
      std::vector<int8_t> back(k + 1, 55);
      quant::unpack_row(packed.data(), k, row, back.data());
      CHECK(std::equal(back.begin(), back.end() - 1, q.begin() + row * k));
      CHECK(back.back() == 55);
    }
  }
}

TEST_CASE("a matrix packed in blocks of rows is the same as packed at once") {
  constexpr int64_t rows = 75, k = 130;
  const auto q = random_bytes(rows * k);
  std::vector<int8_t> whole(quant::packed_bytes(rows, k)), parts(whole.size());
  quant::pack_rows(q.data(), rows, k, whole.data());
  for (int64_t begin = 0; begin < rows; begin += 32)
    quant::pack_rows(q.data() + begin * k, std::min<int64_t>(32, rows - begin), k,
                     parts.data() + quant::packed_bytes(begin, k));
  CHECK(whole == parts);
}

TEST_CASE("sums per row and per group, and the tile-major order of scales") {
  for (const auto& [rows, k] : matrices) {
    auto q = random_bytes(rows * k);
    if (rows == 32) std::fill(q.begin(), q.end(), int8_t{-128});  // the largest sum of a group
    const int64_t groups = num_groups(k), n = padded_n(rows);
    std::vector<int32_t> sum(n);
    std::vector<int16_t> group_sum(n * groups);
    std::vector<uint16_t> scale(rows * groups), packed_scale(n * groups);
    for (size_t i = 0; i < scale.size(); ++i) scale[i] = static_cast<uint16_t>(i + 1);
    quant::sum_rows(q.data(), rows, k, sum.data());
    quant::sum_groups(q.data(), rows, k, group_sum.data());
    quant::pack_group_scales(scale.data(), rows, groups, packed_scale.data());
    for (int64_t row = 0; row < n; ++row) {
      int64_t total = 0;
      for (int64_t g = 0; g < groups; ++g) {
        int64_t expected = 0;
        for (int64_t i = 128 * g; row < rows && i < std::min(k, 128 * (g + 1)); ++i)
          expected += q[row * k + i];
        const int64_t at = (row / 16 * groups + g) * 16 + row % 16;
        CHECK(group_sum[at] == expected);
        CHECK(packed_scale[at] == (row < rows ? scale[row * groups + g] : 0));
        total += expected;
      }
      CHECK(sum[row] == total);
    }
  }
}

TEST_CASE("weights per channel: scale = absmax / 127, q = rint(w / scale)") {
  for (const auto& [rows, k] : matrices)
    for (float magnitude : {0.05f, 1e-37f, 1e38f}) {
      const auto w = random_weights(rows * k, magnitude);
      std::vector<int8_t> q(rows * k);
      std::vector<float> scale(rows);
      quant::quantize_rows(w.data(), rows, k, q.data(), scale.data());
      for (int64_t row = 0; row < rows; ++row) {
        double absmax = 0;
        for (int64_t i = 0; i < k; ++i)
          absmax = std::max(absmax, std::fabs(double{w[row * k + i]}));
        REQUIRE(scale[row] == static_cast<float>(absmax / 127));
        bool equal = true;
        for (int64_t i = row * k; i < (row + 1) * k; ++i) {
          const auto quotient = static_cast<float>(double{w[i]} / double{scale[row]});
          equal = equal && q[i] == std::nearbyint(quotient);
        }
        CHECK(equal);
      }
    }
}

TEST_CASE("weights per group: a bfloat16 scale, the smallest that keeps q within 127") {
  for (const auto& [rows, k] : matrices) {
    const auto w = random_weights(rows * k, 0.05f);
    const int64_t groups = num_groups(k);
    std::vector<int8_t> q(rows * k);
    std::vector<uint16_t> scale(rows * groups);
    quant::quantize_rows_grouped(w.data(), rows, k, q.data(), scale.data());
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t g = 0; g < groups; ++g) {
        const uint16_t bits = scale[row * groups + g];
        const double value = quant::bfloat16_value(bits);
        double absmax = 0;
        bool equal = true;
        for (int64_t i = 128 * g; i < std::min(k, 128 * (g + 1)); ++i) {
          const double weight = w[row * k + i];
          absmax = std::max(absmax, std::fabs(weight));
          equal = equal && q[row * k + i] == std::nearbyint(static_cast<float>(weight / value));
        }
        CHECK(equal);
        CHECK(static_cast<float>(absmax / 127) <= value);
        if (bits > 0)
          CHECK(static_cast<float>(absmax / 127) >
                quant::bfloat16_value(static_cast<uint16_t>(bits - 1)));
      }
  }
}

TEST_CASE("weights on a tie round to even, and the largest become 127") {
  const std::vector<float> w = {127, -127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f, -126.5f};
  const std::vector<int8_t> expected = {127, -127, 0, 2, 2, 0, -2, -2, 126, -126};
  std::vector<int8_t> q(w.size());
  float scale = 0;
  quant::quantize_rows(w.data(), 1, 10, q.data(), &scale);
  CHECK(q == expected);
  CHECK(scale == 1.0f);
  uint16_t group_scale = 0;
  quant::quantize_rows_grouped(w.data(), 1, 10, q.data(), &group_scale);
  CHECK(q == expected);
  CHECK(quant::bfloat16_value(group_scale) == 1.0f);
}

TEST_CASE("rows of zeros and of subnormals stay within range") {
  std::vector<float> w(3 * 128, 0.0f);
  std::fill(w.begin() + 128, w.begin() + 256, FLT_TRUE_MIN);
  std::fill(w.begin() + 256, w.end(), -190 * FLT_TRUE_MIN);
  std::vector<int8_t> q(w.size(), 55);
  std::vector<float> scale(3, 1.0f);
  quant::quantize_rows(w.data(), 3, 128, q.data(), scale.data());
  CHECK(scale[0] == 0.0f);
  CHECK(std::all_of(q.begin(), q.begin() + 256, [](int8_t v) { return v == 0; }));
  CHECK(std::all_of(q.begin() + 256, q.end(), [](int8_t v) { return v == -127; }));
  std::vector<uint16_t> group_scale(3, 1);
  quant::quantize_rows_grouped(w.data(), 3, 128, q.data(), group_scale.data());
  CHECK(group_scale[0] == 0);
  CHECK(std::all_of(q.begin(), q.begin() + 128, [](int8_t v) { return v == 0; }));
}

TEST_CASE("a weight that is not finite is an error with its place") {
  for (float bad : {std::nanf(""), -std::nanf(""), INFINITY, -INFINITY}) {
    auto w = random_weights(4 * 300, 1.0f);
    w[2 * 300 + 277] = bad;
    w[2 * 300 + 290] = bad;
    std::vector<int8_t> q(w.size());
    std::vector<float> scale(4);
    std::vector<uint16_t> group_scale(4 * 3);
    const std::string place = "row 18, column 277: weight ";
    for (bool grouped : {false, true}) try {
        if (grouped)
          quant::quantize_rows_grouped(w.data(), 4, 300, q.data(), group_scale.data(), 16);
        else
          quant::quantize_rows(w.data(), 4, 300, q.data(), scale.data(), 16);
        FAIL("no error");
      } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::InvalidFile);
        CHECK(std::string(error.what()).starts_with(place));
      }
  }
}

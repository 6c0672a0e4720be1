// Every variant of the int8 matrix multiplications against sums in int64 over row-major operands,
// then the roundings that kernels/types.h prescribes: bit for bit.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "lib/core/aligned.h"
#include "quant/pack.h"
#include "quant/quantize.h"
#include "tests/kernels/rows.h"

using namespace octet;
using namespace octet::kernels;

namespace {

struct Shape {
  int64_t m, n, k;
};

std::vector<Shape> edge_shapes() {
  std::vector<Shape> shapes;
  std::vector<int64_t> rows = {31, 32, 33, 48, 65};
  for (int64_t m = 0; m <= 17; ++m) rows.push_back(m);
  for (int64_t m : rows)
    for (int64_t n : {1, 15, 16, 17, 48, 100})
      for (int64_t k : {1, 3, 4, 5, 127, 128, 129, 260}) shapes.push_back({m, n, k});
  for (int64_t m : {1, 4, 13, 33})
    for (int64_t n : {16, 65, 100}) shapes.push_back({m, n, 1536});
  for (int64_t m : {1, 2})
    for (int64_t n : {256, 263, 288}) shapes.push_back({m, n, 260});
  return shapes;
}

/// Bytes of the operands: random, or the same everywhere.
struct Fill {
  bool random = true;
  int8_t a = 0, w = 0;
};

class Values {
 public:
  int8_t activation() { return static_cast<int8_t>(static_cast<int>(generator_() % 255) - 127); }
  int8_t weight() { return static_cast<int8_t>(generator_()); }
  float real() { return static_cast<float>(generator_() % 20001) / 10000.0f - 1.0f; }

 private:
  std::mt19937 generator_{7};
};

/// Operands of one shape, all but w off their natural alignment, with strides beyond the width.
struct Problem {
  Problem(Shape shape_in, Fill fill) : shape(shape_in), packed(packed_size()) {
    const auto [m, n, k] = shape;
    lda = padded_k(k) + 3, ldc = n + 5, groups = num_groups(k);
    for (int64_t i = 0; i < m * k; ++i) a.push_back(fill.random ? values.activation() : fill.a);
    for (int64_t i = 0; i < n * k; ++i) w.push_back(fill.random ? values.weight() : fill.w);
    quant::pack_rows(w.data(), n, k, packed.data());
    w_sum.resize(padded_n(n)), group_sum.resize(padded_n(n) * groups);
    quant::sum_rows(w.data(), n, k, w_sum.data());
    quant::sum_groups(w.data(), n, k, group_sum.data());
    for (int64_t i = 0; i < m; ++i) a_scale.push_back(0.01f * values.real());
    for (int64_t i = 0; i < m * groups; ++i) a_group_scale.push_back(0.01f * values.real());
    // Scales of the padding must have no effect.
    w_scale.assign(padded_n(n), std::numeric_limits<float>::quiet_NaN());
    for (int64_t i = 0; i < n; ++i) w_scale[i] = 0.01f * values.real();
    for (int64_t i = 0; i < n * groups; ++i)
      w_group_scale.push_back(std::bit_cast<uint32_t>(values.real()) >> 16);
    packed_scale.resize(padded_n(n) * groups);
    quant::pack_group_scales(w_group_scale.data(), n, groups, packed_scale.data());
    for (int64_t i = 0; i < n; ++i) bias.push_back(values.real());
  }

  size_t packed_size() const { return quant::packed_bytes(shape.n, shape.k); }

  int64_t dot(int64_t row, int64_t col, int64_t begin, int64_t end) const {
    int64_t sum = 0;
    for (int64_t i = begin; i < end; ++i)
      sum += int64_t{a[row * shape.k + i]} * w[col * shape.k + i];
    return sum;
  }

  /// Activations as the kernels of an instruction set take them: an odd address, garbage in the
  /// padding and between rows; the last row ends with its padding.
  std::vector<int8_t> activations(Isa isa, ActivationLayout layout) {
    const int64_t m = shape.m, k = shape.k, panels = (k + 63) / 64;
    int64_t size = m > 0 ? (m - 1) * lda + padded_k(k) : 0;
    if (layout == ActivationLayout::tiles) size = (m + 31) / 32 * 32 * panels * 64;
    std::vector<int8_t> out(1 + size);
    for (int8_t& value : out) value = values.weight();
    for (int64_t row = 0; row < m; ++row)
      for (int64_t i = 0; i < k; ++i) {
        const int64_t at = layout == ActivationLayout::tiles
                               ? ((row / 32 * panels + i / 64) * 32 + row % 32) * 64 + i % 64
                               : row * lda + i;
        out[1 + at] = static_cast<int8_t>(a[row * k + i] ^ activation_xor(isa));
      }
    return out;
  }

  Shape shape;
  Values values;
  int64_t lda, ldc, groups;
  std::vector<int8_t> a, w;
  AlignedBuffer<int8_t> packed;
  std::vector<int32_t> w_sum;
  std::vector<int16_t> group_sum;
  std::vector<float> a_scale, a_group_scale, w_scale, bias;
  std::vector<uint16_t> w_group_scale, packed_scale;
};

/// c with a canary in every place that a kernel must leave alone: one element before it, columns
/// n to ldc, a row after it.
template <class T>
std::vector<T> canaries(const Problem& p) {
  return std::vector<T>(1 + (p.shape.m + 1) * p.ldc, T{12345});
}

template <class T>
std::string first_difference(const Problem& p, const std::vector<T>& got,
                             const std::vector<T>& expected) {
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::bit_cast<uint32_t>(got[i]) == std::bit_cast<uint32_t>(expected[i])) continue;
    const int64_t at = static_cast<int64_t>(i) - 1;
    return "m " + std::to_string(p.shape.m) + " n " + std::to_string(p.shape.n) + " k " +
           std::to_string(p.shape.k) + ": row " + std::to_string(at / p.ldc) + " column " +
           std::to_string(at % p.ldc) + ": " + std::to_string(got[i]) + ", expected " +
           std::to_string(expected[i]);
  }
  return "";
}

/// Rows, which every kernel takes, and what an instruction set takes besides.
std::vector<ActivationLayout> layouts(Isa isa) {
  std::vector<ActivationLayout> all{ActivationLayout::rows};
  const ActivationLayout own = activation_layout(isa, int64_t{1} << 20);
  if (own != all[0]) all.push_back(own);
  return all;
}

void check_s32(Shape shape, Fill fill) {
  Problem p(shape, fill);
  auto expected = canaries<int32_t>(p);
  for (int64_t row = 0; row < shape.m; ++row)
    for (int64_t col = 0; col < shape.n; ++col)
      expected[1 + row * p.ldc + col] = static_cast<int32_t>(p.dot(row, col, 0, shape.k));
  for (const auto& kernel : runnable_rows<GemmS8S32Function>("gemm_s8s8_s32"))
    for (ActivationLayout layout : layouts(kernel.isa)) {
      const auto a = p.activations(kernel.isa, layout);
      auto c = canaries<int32_t>(p);
      kernel.function({.m = shape.m,
                       .n = shape.n,
                       .k = shape.k,
                       .a = a.data() + 1,
                       .lda = p.lda,
                       .w = p.packed.data(),
                       .w_sum = p.w_sum.data(),
                       .c = c.data() + 1,
                       .ldc = p.ldc,
                       .layout = layout});
      CHECK_MESSAGE(first_difference(p, c, expected) == "", kernel.name);
    }
}

/// Runs one float variant on operands of either kind and compares with `result(row, col)`, the
/// value before bias and store.
template <class Gemm, class Result>
void check_f32(Problem& p, const char* op, Gemm gemm, Result result) {
  const auto [m, n, k] = p.shape;
  gemm.m = m, gemm.n = n, gemm.k = k;
  gemm.lda = p.lda, gemm.ldc = p.ldc;
  gemm.w = p.packed.data();
  for (bool with_bias : {false, true})
    for (Store store : {Store::assign, Store::add}) {
      auto before = canaries<float>(p);
      for (int64_t i = 0; i < m * p.ldc; ++i)
        if (i % p.ldc < n) before[1 + i] = p.values.real();
      auto expected = before;
      for (int64_t row = 0; row < m; ++row)
        for (int64_t col = 0; col < n; ++col) {
          float value = result(row, col);
          if (with_bias) value = value + p.bias[col];
          float& c = expected[1 + row * p.ldc + col];
          c = store == Store::add ? c + value : value;
        }
      for (const auto& kernel : runnable_rows<void (*)(const Gemm&)>(op))
        for (ActivationLayout layout : layouts(kernel.isa)) {
          const auto a = p.activations(kernel.isa, layout);
          auto c = before;
          gemm.a = a.data() + 1;
          gemm.bias = with_bias ? p.bias.data() : nullptr;
          gemm.c = c.data() + 1;
          gemm.store = store;
          gemm.single_stream = n >= 256;
          gemm.layout = layout;
          kernel.function(gemm);
          CHECK_MESSAGE(first_difference(p, c, expected) == "", kernel.name);
        }
    }
}

void check_per_channel(Shape shape, Fill fill) {
  Problem p(shape, fill);
  std::vector<float> result(shape.m * shape.n);
  for (int64_t row = 0; row < shape.m; ++row)
    for (int64_t col = 0; col < shape.n; ++col) {
      const float scale = p.a_scale[row] * p.w_scale[col];
      result[row * shape.n + col] = static_cast<float>(p.dot(row, col, 0, shape.k)) * scale;
    }
  GemmS8 gemm{};
  gemm.a_scale = p.a_scale.data(), gemm.w_scale = p.w_scale.data(), gemm.w_sum = p.w_sum.data();
  check_f32(p, "gemm_s8s8_f32", gemm,
            [&](int64_t row, int64_t col) { return result[row * shape.n + col]; });
}

void check_grouped(Shape shape, Fill fill) {
  Problem p(shape, fill);
  std::vector<float> result(shape.m * shape.n);
  for (int64_t row = 0; row < shape.m; ++row)
    for (int64_t col = 0; col < shape.n; ++col) {
      float value = 0;
      for (int64_t g = 0; g < p.groups; ++g) {
        const int64_t sum = p.dot(row, col, 128 * g, std::min(shape.k, 128 * (g + 1)));
        const float w_scale = quant::bfloat16_value(p.w_group_scale[col * p.groups + g]);
        const float scale = p.a_group_scale[row * p.groups + g] * w_scale;
        value = std::fma(static_cast<float>(sum), scale, value);
      }
      result[row * shape.n + col] = value;
    }
  GemmS8Grouped gemm{};
  gemm.a_scale = p.a_group_scale.data();
  gemm.w_scale = p.packed_scale.data(), gemm.w_sum = p.group_sum.data();
  check_f32(p, "gemm_s8s8_f32_g128", gemm,
            [&](int64_t row, int64_t col) { return result[row * shape.n + col]; });
}

constexpr Fill extremes[] = {{false, 127, 127},
                             {false, -127, -128},
                             {false, 127, -128},
                             {false, -127, 127},
                             {false, 0, -128}};

}  // namespace

TEST_CASE("int32 accumulators are exact on every shape") {
  for (const Shape& shape : edge_shapes()) check_s32(shape, {});
}

TEST_CASE("per-channel results are the prescribed roundings, bit for bit, on every shape") {
  for (const Shape& shape : edge_shapes()) check_per_channel(shape, {});
}

TEST_CASE("grouped results are the prescribed roundings, bit for bit, on every shape") {
  for (const Shape& shape : edge_shapes()) check_grouped(shape, {});
}

TEST_CASE("extreme operands do not saturate or wrap") {
  for (const Fill& fill : extremes)
    for (const Shape& shape : {Shape{13, 33, 260}, Shape{2, 17, max_k}, Shape{1, 80, 8960}}) {
      check_s32(shape, fill);
      check_per_channel(shape, fill);
      check_grouped(shape, fill);
    }
}

TEST_CASE("a shape beyond every cache block") {
  check_s32({70, 40, 8960}, {});
  check_per_channel({300, 50, 1536}, {});
  check_grouped({300, 50, 1536}, {});
  for (const Shape& shape : {Shape{256, 70, 1600}, Shape{530, 40, 1540}}) {
    check_s32(shape, {});
    check_per_channel(shape, {});
    check_grouped(shape, {});
  }
}

TEST_CASE("k = 0 gives the bias") {
  for (int64_t m : {1, 5}) {
    check_s32({m, 20, 0}, {});
    check_per_channel({m, 20, 0}, {});
    check_grouped({m, 20, 0}, {});
  }
}

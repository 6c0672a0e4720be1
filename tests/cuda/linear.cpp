// The CUDA matrix multiplications and quantization against the CPU's reference kernels, bit for
// bit.
#include <algorithm>
#include <bit>
#include <random>
#include <string>

#include "kernels/table.h"
#include "quant/pack.h"
#include "tests/cuda/device.h"

using namespace octet;
using namespace octet::testing;
using kernels::num_groups;
using kernels::padded_k;
using kernels::padded_n;
using kernels::cuda::activation_stride;

namespace {

struct Case {
  int64_t rows, n, k;
  int a = 1000, w = 1000;  ///< the value everywhere; 1000: random
};

class Values {
 public:
  int8_t activation(int fixed) {
    return static_cast<int8_t>(fixed < 1000 ? fixed : static_cast<int>(generator_() % 255) - 127);
  }
  int8_t weight(int fixed) { return static_cast<int8_t>(fixed < 1000 ? fixed : generator_()); }
  float real() { return static_cast<float>(generator_() % 20001) / 10000.0f - 1.0f; }

 private:
  std::mt19937 generator_{11};
};

std::string first_difference(const std::vector<float>& got, const std::vector<float>& expected,
                             int64_t columns) {
  for (size_t i = 0; i < expected.size(); ++i)
    if (std::bit_cast<uint32_t>(got[i]) != std::bit_cast<uint32_t>(expected[i]))
      return "row " + std::to_string(i / columns) + " column " + std::to_string(i % columns) +
             ": " + std::to_string(got[i]) + ", expected " + std::to_string(expected[i]);
  return "";
}

/// Operands on the host in the CPU's layouts, and on the device.
struct Problem {
  Problem(const Case& c, bool is_grouped, int parts)
      : shape(c), grouped(is_grouped), groups(num_groups(c.k)), columns(padded_n(c.n)) {
    for (int part = 0; part < parts; ++part) {
      std::vector<int8_t> w(c.n * c.k);
      for (int8_t& value : w) value = values.weight(c.w);
      packed.emplace_back(quant::packed_bytes(c.n, c.k));
      quant::pack_rows(w.data(), c.n, c.k, packed.back().data());
      scale.emplace_back(columns, 0.0f);
      for (int64_t i = 0; i < c.n; ++i) scale.back()[i] = 0.01f * values.real();
      std::vector<uint16_t> rows(c.n * groups);
      for (uint16_t& value : rows) value = std::bit_cast<uint32_t>(values.real()) >> 16;
      group_scale.emplace_back(columns * groups);
      quant::pack_group_scales(rows.data(), c.n, groups, group_scale.back().data());
      bias.emplace_back(columns, 0.0f);
      for (int64_t i = 0; i < c.n; ++i) bias.back()[i] = values.real();
    }
    x.assign(c.rows * activation_stride(c.k), 0);
    for (int64_t row = 0; row < c.rows; ++row)
      for (int64_t i = 0; i < c.k; ++i)
        x[row * activation_stride(c.k) + i] = values.activation(c.a);
    x_scale.resize(c.rows * (grouped ? groups : 1));
    for (float& value : x_scale) value = 0.01f * values.real();
  }

  /// The CPU's result of part p, added to `out` [rows][columns].
  void reference(int p, kernels::Store store, std::vector<float>& out) const {
    const auto run = [&](auto gemm, auto function, auto* w_scale) {
      gemm.m = shape.rows, gemm.n = shape.n, gemm.k = shape.k;
      gemm.a = x.data(), gemm.lda = activation_stride(shape.k), gemm.a_scale = x_scale.data();
      gemm.w = packed[p].data(), gemm.w_scale = w_scale, gemm.bias = bias[p].data();
      gemm.c = out.data(), gemm.ldc = columns, gemm.store = store;
      function(gemm);
    };
    if (grouped)
      run(kernels::GemmS8Grouped{}, kernels::gemm_s8s8_f32_g128_ref, group_scale[p].data());
    else
      run(kernels::GemmS8{}, kernels::gemm_s8s8_f32_ref, scale[p].data());
  }

  Case shape;
  bool grouped;
  int64_t groups, columns;
  Values values;
  std::vector<std::vector<int8_t>> packed;
  std::vector<std::vector<float>> scale, bias;
  std::vector<std::vector<uint16_t>> group_scale;
  std::vector<int8_t> x;
  std::vector<float> x_scale;
};

/// Weights of the parts tile by tile in turns, as gate and up are stored.
struct DeviceWeights {
  explicit DeviceWeights(const Problem& p)
      : weight(static_cast<int64_t>(p.packed.size()) *
                   kernels::cuda::weight_bytes(p.shape.n, p.shape.k),
               int8_t{99}),
        scale(scales(p)),
        bias(biases(p)) {
    const auto parts = static_cast<int64_t>(p.packed.size());
    for (int64_t part = 0; part < parts; ++part) {
      const OnGpu<int8_t> packed(p.packed[part]);
      kernels::cuda::repack({packed.data(), weight.data(), p.shape.n, p.shape.k, part, parts},
                            default_queue());
      cuda::check(cudaStreamSynchronize(nullptr), "repack");
    }
  }
  template <class T>
  static std::vector<T> in_turns(const std::vector<std::vector<T>>& parts, int64_t tile) {
    std::vector<T> all;
    for (size_t at = 0; at < parts[0].size(); at += tile)
      for (const std::vector<T>& part : parts)
        all.insert(all.end(), part.begin() + at, part.begin() + at + tile);
    return all;
  }
  static std::vector<uint8_t> scales(const Problem& p) {
    const auto bytes = [](const auto& values) {
      const auto* begin = reinterpret_cast<const uint8_t*>(values.data());
      return std::vector<uint8_t>(begin, begin + values.size() * sizeof values[0]);
    };
    return p.grouped ? bytes(in_turns(p.group_scale, 16 * p.groups)) : bytes(in_turns(p.scale, 16));
  }
  static std::vector<float> biases(const Problem& p) { return in_turns(p.bias, 16); }

  OnGpu<int8_t> weight;
  OnGpu<uint8_t> scale;
  OnGpu<float> bias;
};

void run(const kernels::cuda::Linear& linear) {
  if (linear.rows <= kernels::cuda::max_decode_rows)
    kernels::cuda::linear_decode(linear, nullptr, default_queue());
  else
    kernels::cuda::linear_prefill(linear, default_queue());
}

void check_linear(const Case& c, bool grouped) {
  const Problem p(c, grouped, 1);
  const DeviceWeights w(p);
  const OnGpu<int8_t> x(p.x);
  const OnGpu<float> x_scale(p.x_scale);
  for (const bool add : {false, true}) {
    std::vector<float> expected(c.rows * p.columns, 0.25f);
    const OnGpu<float> out(expected);
    p.reference(0, add ? kernels::Store::add : kernels::Store::assign, expected);
    run({c.rows,
         c.k,
         p.columns / 16,
         grouped,
         w.weight.data(),
         w.scale.data(),
         w.bias.data(),
         {x.data(), x_scale.data()},
         out.data(),
         p.columns,
         add ? kernels::cuda::Output::add : kernels::cuda::Output::assign});
    std::vector<float> got = out.host();
    // Columns of the padding are the kernel's to use.
    for (int64_t row = 0; row < c.rows; ++row)
      std::copy_n(expected.begin() + row * p.columns + c.n, p.columns - c.n,
                  got.begin() + row * p.columns + c.n);
    CHECK_MESSAGE(first_difference(got, expected, p.columns) == "", "rows ", c.rows, " n ", c.n,
                  " k ", c.k, " grouped ", grouped);
  }
}

/// silu(gate) * up: the products are exact, the exponential need not be the CPU's.
void check_gate_up(const Case& c, bool grouped) {
  const Problem p(c, grouped, 2);
  const DeviceWeights w(p);
  const OnGpu<int8_t> x(p.x);
  const OnGpu<float> x_scale(p.x_scale), out(c.rows * p.columns);
  run({c.rows,
       c.k,
       2 * p.columns / 16,
       grouped,
       w.weight.data(),
       w.scale.data(),
       w.bias.data(),
       {x.data(), x_scale.data()},
       out.data(),
       p.columns,
       kernels::cuda::Output::silu_mul});
  std::vector<float> gate(c.rows * p.columns), up = gate;
  p.reference(0, kernels::Store::assign, gate);
  p.reference(1, kernels::Store::assign, up);
  const std::vector<float> got = out.host();
  double worst = 0;
  for (int64_t row = 0; row < c.rows; ++row)
    for (int64_t i = row * p.columns; i < row * p.columns + c.n; ++i) {
      const double expected = gate[i] / (1 + std::exp(-double{gate[i]})) * up[i];
      const double error = std::abs(got[i] - expected) / (std::abs(expected) + 1e-6);
      worst = error <= worst ? worst : error;
    }
  CHECK_MESSAGE(worst < 1e-5, "rows ", c.rows, " n ", c.n, " k ", c.k, " grouped ", grouped);
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all = [] {
    std::vector<Case> list;
    for (int64_t rows : {1, 2, 7, 8, 9, 16, 17, 32, 33, 64, 65, 130})
      for (const auto& [n, k] : {std::pair{16, 64}, {40, 4}, {100, 260}, {176, 1100}})
        list.push_back({rows, n, k});
    list.push_back({3, 2100, 128});  // more tiles than blocks
    list.push_back({130, 300, 700});
    for (int64_t rows : {5, 70}) {
      for (const auto& [a, w] : {std::pair{127, 127}, {-127, -128}, {127, -128}, {-127, 127}})
        list.push_back({rows, 33, 8960, a, w});
    }
    return list;
  }();
  return all;
}

}  // namespace

TEST_CASE("cuda: per-channel products are the reference's, bit for bit") {
  if (!has_cuda()) return;
  for (const Case& c : cases()) check_linear(c, false);
}

TEST_CASE("cuda: grouped products are the reference's, bit for bit") {
  if (!has_cuda()) return;
  for (const Case& c : cases()) check_linear(c, true);
}

TEST_CASE("cuda: silu(gate) * up in one multiplication") {
  if (!has_cuda()) return;
  for (int64_t rows : {1, 9, 20, 33, 129})
    for (const bool grouped : {false, true}) {
      check_gate_up({rows, 40, 260}, grouped);
      check_gate_up({rows, 336, 128}, grouped);
    }
}

TEST_CASE("cuda: quantized rows are the reference's, bit for bit; norms come near") {
  if (!has_cuda()) return;
  Values values;
  for (const bool grouped : {false, true})
    for (int64_t k : {4, 64, 132, 1536, 8960}) {
      CAPTURE(k);
      constexpr int64_t rows = 3;
      const int64_t stride = k + 12, scales = grouped ? num_groups(k) : 1;
      std::vector<float> x(rows * stride), norm(k);
      for (float& value : x) value = values.real() * 3;
      for (float& value : norm) value = values.real();
      std::fill_n(x.begin() + stride, k, 0.0f);
      const OnGpu<float> source(x), weight(norm), scale(rows * scales, -1.0f);
      const OnGpu<int8_t> q(rows * activation_stride(k), int8_t{55});
      const OnGpu<int32_t> bad(std::vector<int32_t>{1000}), list(std::vector<int32_t>{2, 0, 1});
      kernels::cuda::RowSource from{source.data(), stride,         k, nullptr, 1e-6f,
                                    list.data(),   {bad.data(), 7}};
      kernels::cuda::quantize_rows(from, {q.data(), scale.data()}, rows, grouped, default_queue());
      const std::vector<int8_t> got = q.host();
      const std::vector<float> got_scale = scale.host();
      for (int64_t row = 0; row < rows; ++row) {
        std::vector<int8_t> expected(activation_stride(k), 0);
        std::vector<float> expected_scale(scales);
        const float* x_row = x.data() + (row + 2) % 3 * stride;
        const auto& function =
            grouped ? kernels::quantize_f32_s8_g128_ref : kernels::quantize_f32_s8_ref;
        REQUIRE(function({k, x_row, expected.data(), expected_scale.data(), 0}));
        CHECK(
            std::equal(expected.begin(), expected.end(), got.begin() + row * activation_stride(k)));
        CHECK(std::equal(expected_scale.begin(), expected_scale.end(),
                         got_scale.begin() + row * scales));
      }
      CHECK(bad.host()[0] == 1000);

      from.norm = weight.data();
      kernels::cuda::quantize_rows(from, {q.data(), scale.data()}, rows, grouped, default_queue());
      std::vector<float> normed(k);
      kernels::rms_norm_f32_ref(x.data() + 2 * stride, norm.data(), normed.data(), k, 1e-6f);
      const std::vector<int8_t> normed_q = q.host();
      const std::vector<float> normed_scale = scale.host();
      for (int64_t i = 0; i < k; ++i) {
        const float step = normed_scale[grouped ? i / 128 : 0];
        CHECK(std::abs(normed_q[i] * step - normed[i]) <= 0.5001f * step + 1e-5f);
      }

      for (const float wrong : {INFINITY, -INFINITY, NAN}) {
        std::vector<float> broken = x;
        broken[2 * stride + k - 1] = wrong;
        const OnGpu<float> broken_source(broken);
        const OnGpu<int32_t> first_bad(std::vector<int32_t>{1000});
        from = {broken_source.data(), stride, k, nullptr, 1e-6f, nullptr, {first_bad.data(), 7}};
        kernels::cuda::quantize_rows(from, {q.data(), scale.data()}, rows, grouped,
                                     default_queue());
        CHECK(first_bad.host()[0] == 7);
      }
    }
}

TEST_CASE("cuda: a multiplication that normalizes its input gives the bits of two kernels") {
  if (!has_cuda()) return;
  for (const bool grouped : {false, true})
    for (int64_t rows : {1, 2}) {
      const Problem p({rows, 80, 576}, grouped, 1);
      const DeviceWeights w(p);
      Values values;
      std::vector<float> x(rows * p.shape.k), norm(p.shape.k);
      for (float& value : x) value = values.real();
      for (float& value : norm) value = values.real();
      const OnGpu<float> source(x), weight(norm), scale(rows * p.groups);
      const OnGpu<int8_t> q(rows * activation_stride(p.shape.k));
      const OnGpu<int32_t> bad(std::vector<int32_t>{1000});
      const kernels::cuda::RowSource from{source.data(), p.shape.k, p.shape.k,      weight.data(),
                                          1e-6f,         nullptr,   {bad.data(), 0}};
      const OnGpu<float> fused(rows * p.columns), apart(rows * p.columns);
      kernels::cuda::Linear linear{rows,
                                   p.shape.k,
                                   p.columns / 16,
                                   grouped,
                                   w.weight.data(),
                                   w.scale.data(),
                                   nullptr,
                                   {q.data(), scale.data()},
                                   fused.data(),
                                   p.columns,
                                   kernels::cuda::Output::assign};
      kernels::cuda::linear_decode(linear, &from, default_queue());
      kernels::cuda::quantize_rows(from, linear.x, rows, grouped, default_queue());
      linear.out = apart.data();
      kernels::cuda::linear_decode(linear, nullptr, default_queue());
      CHECK(first_difference(fused.host(), apart.host(), p.columns) == "");
    }
}

TEST_CASE("cuda: Hadamard blocks are the reference's, bit for bit") {
  if (!has_cuda()) return;
  for (const auto& [k, block] : {std::pair{96, 1}, {96, 2}, {96, 32}, {8960, 256}, {8192, 8192}}) {
    CAPTURE(block);
    constexpr int64_t rows = 2;
    const int64_t stride = k + 16;
    Values values;
    std::vector<float> expected(rows * stride);
    for (float& value : expected) value = values.real();
    const OnGpu<float> x(expected);
    kernels::cuda::hadamard({rows, k, block, x.data(), stride}, default_queue());
    for (int64_t row = 0; row < rows; ++row)
      kernels::hadamard_f32_ref(expected.data() + row * stride, k, block);
    CHECK(first_difference(x.host(), expected, stride) == "");
  }
}

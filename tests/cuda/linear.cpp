// The CUDA matrix multiplications and quantization against the CPU's reference kernels, bit for
// bit.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <set>
#include <string>

#include "kernels/ref/half.h"
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

std::vector<float> largest_of_rows(const std::vector<float>& values, int64_t rows) {
  std::vector<float> largest(static_cast<size_t>(rows));
  for (size_t i = 0; i < values.size(); ++i) {
    float& of_row = largest[i / (values.size() / largest.size())];
    of_row = std::max(of_row, std::abs(values[i]));
  }
  return largest;
}
/// Of kernels::cuda::RowSource::peaks.
std::vector<float> largest_of_peaks(const std::vector<uint32_t>& peaks, int64_t rows) {
  std::vector<float> values(peaks.size());
  std::memcpy(values.data(), peaks.data(), peaks.size() * sizeof(float));
  return largest_of_rows(values, rows);
}

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

/// Operands on the host in the CPU's layouts, and on the device. With two planes of activations,
/// part 0 alone takes the second.
struct Problem {
  Problem(const Case& c, bool is_grouped, int parts, int of_planes = 1)
      : shape(c),
        grouped(is_grouped),
        planes(of_planes),
        groups(num_groups(c.k)),
        columns(padded_n(c.n)) {
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
    x.assign(planes * c.rows * activation_stride(c.k), 0);
    for (int64_t row = 0; row < planes * c.rows; ++row)
      for (int64_t i = 0; i < c.k; ++i)
        x[row * activation_stride(c.k) + i] = values.activation(c.a);
    x_scale.resize(planes * row_scales());
    for (float& value : x_scale) value = 0.01f * values.real();
  }

  /// x in the order of tiled_word(), with something behind the last row.
  std::vector<int8_t> tiled_x() const {
    const int64_t plane_bytes = kernels::cuda::tiled_bytes(shape.rows, shape.k);
    std::vector<int8_t> tiled(planes * plane_bytes, 99);
    for (int64_t row = 0; row < planes * shape.rows; ++row)
      for (int64_t i = 0; i < kernels::cuda::tiled_stride(shape.k); ++i)
        tiled[row / shape.rows * plane_bytes +
              4 * kernels::cuda::tiled_word(row % shape.rows, i / 4, shape.k) + i % 4] =
            i < shape.k ? x[row * activation_stride(shape.k) + i] : int8_t{0};
    return tiled;
  }

  int64_t row_scales() const { return shape.rows * (grouped ? groups : 1); }

  /// The CPU's result of part p, added to `out` [rows][columns].
  void reference(int p, kernels::Store store, std::vector<float>& out) const {
    reference_plane(p, 0, store, out);
    if (planes > 1 && p == 0) reference_plane(p, 1, kernels::Store::add, out);
  }
  void reference_plane(int p, int plane, kernels::Store store, std::vector<float>& out) const {
    const auto run = [&](auto gemm, auto function, auto* w_scale) {
      gemm.m = shape.rows, gemm.n = shape.n, gemm.k = shape.k,
      gemm.lda = activation_stride(shape.k);
      gemm.a = x.data() + plane * shape.rows * gemm.lda;
      gemm.a_scale = x_scale.data() + plane * row_scales();
      gemm.w = packed[p].data(), gemm.w_scale = w_scale;
      gemm.bias = plane == 0 ? bias[p].data() : nullptr;
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
  int planes;
  int64_t groups, columns;
  Values values;
  std::vector<std::vector<int8_t>> packed;
  std::vector<std::vector<float>> scale, bias;
  std::vector<std::vector<uint16_t>> group_scale;
  std::vector<int8_t> x;
  std::vector<float> x_scale;
};

/// Weights of the parts channel by channel in turns, as gate and up are stored.
struct DeviceWeights {
  explicit DeviceWeights(const Problem& p)
      : weight(static_cast<int64_t>(p.packed.size()) *
                   kernels::cuda::weight_bytes(p.shape.n, p.shape.k),
               int8_t{99}),
        scale(scales(p, false)),
        rest_scale(scales(p, true)),
        bias(in_turns(p.bias, 1)) {
    const auto parts = static_cast<int64_t>(p.packed.size());
    for (int64_t part = 0; part < parts; ++part) {
      const OnGpu<int8_t> packed(p.packed[part]);
      kernels::cuda::repack({packed.data(), weight.data(), p.shape.n, p.shape.k, part, parts},
                            default_queue());
      cuda::check(cudaStreamSynchronize(nullptr), "repack");
    }
  }
  /// Parts of `values` a channel, stored [channels / 16][values][16].
  template <class T>
  static std::vector<T> in_turns(const std::vector<std::vector<T>>& parts, int64_t values) {
    const auto count = static_cast<int64_t>(parts.size());
    const int64_t channels = static_cast<int64_t>(parts[0].size()) / values;
    const auto place = [&](int64_t channel, int64_t i) {
      return static_cast<size_t>((channel / 16 * values + i) * 16 + channel % 16);
    };
    std::vector<T> all(parts.size() * parts[0].size());
    for (int64_t channel = 0; channel < channels; ++channel)
      for (int64_t p = 0; p < count; ++p)
        for (int64_t i = 0; i < values; ++i)
          all[place(channel * count + p, i)] = parts[static_cast<size_t>(p)][place(channel, i)];
    return all;
  }
  /// rest: for the second plane, which only part 0 takes.
  static std::vector<uint8_t> scales(const Problem& p, bool rest) {
    const auto bytes = [&](auto parts, int64_t values) {
      if (rest)
        for (size_t i = 1; i < parts.size(); ++i) std::fill(parts[i].begin(), parts[i].end(), 0);
      const auto all = in_turns(parts, values);
      const auto* begin = reinterpret_cast<const uint8_t*>(all.data());
      return std::vector<uint8_t>(begin, begin + all.size() * sizeof all[0]);
    };
    return p.grouped ? bytes(p.group_scale, p.groups) : bytes(p.scale, 1);
  }

  OnGpu<int8_t> weight;
  OnGpu<uint8_t> scale, rest_scale;
  OnGpu<float> bias;
};

/// Whether rows are tiled: as each kernel that may multiply them takes them.
std::vector<bool> orders(const Problem& p, kernels::cuda::Output output) {
  const bool prefill = p.shape.rows * p.planes > kernels::cuda::max_decode_rows;
  if (prefill && kernels::cuda::takes_tiled_rows(p.shape.k, p.planes, output, default_queue()))
    return {false, true};
  return {false};
}

/// The product of all parts.
kernels::cuda::Linear linear_of(const Problem& p, const DeviceWeights& w, const OnGpu<int8_t>& x,
                                const OnGpu<float>& x_scale, const OnGpu<float>& out,
                                kernels::cuda::Output output, bool tiled = false) {
  const int64_t stride =
      tiled ? kernels::cuda::tiled_stride(p.shape.k) : activation_stride(p.shape.k);
  const int64_t tiles = static_cast<int64_t>(p.packed.size()) * p.columns / 16;
  return {p.shape.rows,
          p.shape.k,
          tiles,
          p.grouped,
          p.planes,
          w.weight.data(),
          w.scale.data(),
          w.rest_scale.data(),
          0,
          tiles,
          w.bias.data(),
          {x.data(), x_scale.data(), stride, tiled},
          out.data(),
          p.columns,
          output};
}

void run(const kernels::cuda::Linear& linear) {
  if (linear.rows * linear.planes <= kernels::cuda::max_decode_rows)
    kernels::cuda::linear_decode(linear, nullptr, default_queue());
  else
    kernels::cuda::linear_prefill(linear, default_queue());
}

/// Of one part.
void check_output(const Problem& p, const DeviceWeights& w, kernels::cuda::Output output,
                  bool tiled) {
  const Case& c = p.shape;
  const bool add = output == kernels::cuda::Output::add;
  const OnGpu<int8_t> x(tiled ? p.tiled_x() : p.x);
  const OnGpu<float> x_scale(p.x_scale);
  std::vector<float> expected(c.rows * p.columns, 0.25f);
  const OnGpu<float> out(expected);
  p.reference(0, add ? kernels::Store::add : kernels::Store::assign, expected);
  run(linear_of(p, w, x, x_scale, out, output, tiled));
  std::vector<float> got = out.host();
  // Columns of the padding are the kernel's to use.
  for (int64_t row = 0; row < c.rows; ++row)
    std::copy_n(expected.begin() + row * p.columns + c.n, p.columns - c.n,
                got.begin() + row * p.columns + c.n);
  CHECK_MESSAGE(first_difference(got, expected, p.columns) == "", "rows ", c.rows, " n ", c.n,
                " k ", c.k, " grouped ", p.grouped, " planes ", p.planes, " tiled ", tiled);
}
void check_linear(const Case& c, bool grouped, int planes = 1) {
  const Problem p(c, grouped, 1, planes);
  const DeviceWeights w(p);
  for (const auto output : {kernels::cuda::Output::assign, kernels::cuda::Output::add})
    for (const bool tiled : orders(p, output)) check_output(p, w, output, tiled);
}

/// silu(gate) * up: the products are exact, the exponential need not be the CPU's.
void check_gate_up(const Case& c, bool grouped, int planes = 1) {
  const Problem p(c, grouped, 2, planes);
  const DeviceWeights w(p);
  std::vector<float> gate(c.rows * p.columns), up = gate, first;
  p.reference(0, kernels::Store::assign, gate);
  p.reference(1, kernels::Store::assign, up);
  for (const bool tiled : orders(p, kernels::cuda::Output::silu_mul)) {
    const OnGpu<int8_t> x(tiled ? p.tiled_x() : p.x);
    const OnGpu<float> x_scale(p.x_scale), out(c.rows * p.columns);
    run(linear_of(p, w, x, x_scale, out, kernels::cuda::Output::silu_mul, tiled));
    const std::vector<float> got = out.host();
    if (first.empty()) first = got;
    CHECK(first_difference(got, first, p.columns) == "");
    double worst = 0;
    for (int64_t row = 0; row < c.rows; ++row)
      for (int64_t i = row * p.columns; i < row * p.columns + c.n; ++i) {
        const double expected = gate[i] / (1 + std::exp(-double{gate[i]})) * up[i];
        const double error = std::abs(got[i] - expected) / (std::abs(expected) + 1e-6);
        worst = error <= worst ? worst : error;
      }
    CHECK_MESSAGE(worst < 1e-5, "rows ", c.rows, " n ", c.n, " k ", c.k, " grouped ", grouped);
  }
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all = [] {
    std::vector<Case> list;
    for (int64_t rows : {1, 2, 7, 8, 9, 16, 17, 32, 33, 64, 65, 130})
      for (const auto& [n, k] : {std::pair{16, 64}, {40, 4}, {100, 260}, {176, 1100}})
        list.push_back({rows, n, k});
    list.push_back({3, 2100, 128});  // more tiles than blocks
    for (int64_t rows : {1, 12, 25}) list.push_back({rows, 600, 1500});
    list.push_back({130, 300, 700});
    for (int64_t rows : {5, 70}) {
      for (const auto& [a, w] : {std::pair{127, 127}, {-127, -128}, {127, -128}, {-127, 127}})
        list.push_back({rows, 33, 8960, a, w});
    }
    return list;
  }();
  return all;
}

/// Rows of k values without a norm, rotated in blocks; number 7 of its step.
kernels::cuda::RowSource source_of(const float* values, int64_t stride, int64_t k, int planes,
                                   int32_t* first_bad, int block) {
  return {values,
          stride,
          k,
          nullptr,
          1e-6f,
          block,
          static_cast<float>(1 / std::sqrt(static_cast<double>(block))),
          nullptr,
          planes,
          {first_bad, 7}};
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

TEST_CASE("cuda: products of two planes are the sums of the reference's, bit for bit") {
  if (!has_cuda()) return;
  for (const bool grouped : {false, true})
    for (const int64_t rows : {1, 3, 8, 9, 16, 17, 40, 130}) {
      check_linear({rows, 80, 260}, grouped, 2);
      check_linear({rows, 144, 576}, grouped, 2);
      check_gate_up({rows, 40, 260}, grouped, 2);
    }
}

TEST_CASE("cuda: silu(gate) * up in one multiplication") {
  if (!has_cuda()) return;
  for (int64_t rows : {1, 9, 20, 33, 129})
    for (const bool grouped : {false, true}) {
      check_gate_up({rows, 40, 260}, grouped);
      check_gate_up({rows, 336, 128}, grouped);
    }
}

TEST_CASE("cuda: products of warpgroups, in tiles of every size") {
  if (!has_cuda()) return;
  const kernels::cuda::Queue queue = default_queue();
  std::set<kernels::cuda::WarpgroupSize> sizes;
  for (const int64_t rows : {40, 255, 260}) {
    const Case c{rows, 260, 320};
    sizes.insert(kernels::cuda::plan_warpgroup_prefill(rows, 2 * padded_n(c.n) / 16, false, 1,
                                                       queue.multiprocessors, queue.shared_bytes)
                     .size);
    check_gate_up(c, false);
    check_linear({rows, 2 * c.n, c.k}, false);
    check_linear({rows, 2 * c.n, c.k}, true);
  }
  CHECK(sizes.size() == 3);
}

TEST_CASE("cuda: quantized rows are the reference's, bit for bit; norms come near") {
  if (!has_cuda()) return;
  Values values;
  for (const bool grouped : {false, true})
    for (const auto& [k, planes, block] : {std::tuple<int64_t, int, int>{4, 1, 2},
                                           {64, 1, 64},
                                           {132, 1, 4},
                                           {1536, 1, 1},
                                           {1536, 1, 512},
                                           {8960, 1, 256},
                                           {132, 2, 1},
                                           {896, 1, 128},
                                           {1536, 2, 512}}) {
      CAPTURE(k);
      CAPTURE(planes);
      CAPTURE(block);
      constexpr int64_t rows = 3;
      const int64_t stride = k + 12, scales = grouped ? num_groups(k) : 1;
      std::vector<float> x(rows * stride), norm(k);
      for (float& value : x) value = values.real() * 3;
      for (float& value : norm) value = values.real();
      std::fill_n(x.begin() + stride, k, 0.0f);
      const OnGpu<float> source(x), weight(norm), scale(planes * rows * scales, -1.0f);
      const OnGpu<int8_t> q(planes * rows * activation_stride(k), int8_t{55});
      const kernels::cuda::QuantizedRows out{q.data(), scale.data(), activation_stride(k)};
      const OnGpu<int32_t> bad(std::vector<int32_t>{1000}), list(std::vector<int32_t>{2, 0, 1});
      kernels::cuda::RowSource from =
          source_of(source.data(), stride, k, planes, bad.data(), block);
      from.rows = list.data();
      kernels::cuda::quantize_rows(from, out, rows, grouped, default_queue());
      const std::vector<int8_t> got = q.host();
      const std::vector<float> got_scale = scale.host();
      for (int64_t row = 0; row < rows; ++row) {
        const float* x_row = x.data() + (row + 2) % 3 * stride;
        std::vector<float> left(x_row, x_row + k);
        kernels::hadamard_f32_ref(left.data(), k, block);
        const auto& function =
            grouped ? kernels::quantize_f32_s8_g128_ref : kernels::quantize_f32_s8_ref;
        for (int64_t plane = 0; plane < planes; ++plane) {
          std::vector<int8_t> expected(activation_stride(k), 0);
          std::vector<float> expected_scale(scales);
          REQUIRE(function({k, left.data(), expected.data(), expected_scale.data(), 0}));
          const int64_t at = plane * rows + row;
          CHECK(std::equal(expected.begin(), expected.end(),
                           got.begin() + at * activation_stride(k)));
          CHECK(std::equal(expected_scale.begin(), expected_scale.end(),
                           got_scale.begin() + at * scales));
          for (int64_t i = 0; i < k; ++i)
            left[i] -= expected_scale[grouped ? i / 128 : 0] * static_cast<float>(expected[i]);
        }
      }
      CHECK(bad.host()[0] == 1000);

      from.norm = weight.data();
      kernels::cuda::quantize_rows(from, out, rows, grouped, default_queue());
      std::vector<float> normed(k);
      kernels::rms_norm_f32_ref(x.data() + 2 * stride, norm.data(), normed.data(), k, 1e-6f);
      kernels::hadamard_f32_ref(normed.data(), k, block);
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
        from = source_of(broken_source.data(), stride, k, planes, first_bad.data(), block);
        kernels::cuda::quantize_rows(from, out, rows, grouped, default_queue());
        CHECK(first_bad.host()[0] == 7);
      }
    }
}

TEST_CASE("cuda: tiled rows have the bits of others in another order, and zeros behind") {
  if (!has_cuda()) return;
  for (const auto& [k, block] : {std::pair{4, 1}, {132, 4}, {1536, 512}, {8960, 256}}) {
    CAPTURE(k);
    constexpr int64_t rows = 131;
    const int64_t stride = kernels::cuda::tiled_stride(k);
    Values values;
    std::vector<float> x(rows * k), norm(k);
    for (float& value : x) value = values.real();
    for (float& value : norm) value = values.real();
    const OnGpu<float> source(x), weight(norm), scale(rows), tiled_scale(rows);
    const OnGpu<int8_t> q(rows * activation_stride(k)),
        tiled(kernels::cuda::tiled_bytes(rows, k), int8_t{55});
    const OnGpu<int32_t> bad(std::vector<int32_t>{1000});
    kernels::cuda::RowSource from = source_of(source.data(), k, k, 1, bad.data(), block);
    from.norm = weight.data();
    kernels::cuda::quantize_rows(from, {q.data(), scale.data(), activation_stride(k)}, rows, false,
                                 default_queue());
    kernels::cuda::quantize_rows(from, {tiled.data(), tiled_scale.data(), stride, true}, rows,
                                 false, default_queue());
    const std::vector<int8_t> plain = q.host(), got = tiled.host();
    bool same = true;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t i = 0; i < stride; ++i)
        same &= got[4 * kernels::cuda::tiled_word(row, i / 4, k) + i % 4] ==
                (i < k ? plain[row * activation_stride(k) + i] : 0);
    CHECK(same);
    CHECK(first_difference(tiled_scale.host(), scale.host(), 1) == "");
  }
}

TEST_CASE("cuda: a multiplication that normalizes its input gives the bits of two kernels") {
  if (!has_cuda()) return;
  for (const bool grouped : {false, true})
    for (const auto& [k, planes, block] : {std::tuple<int64_t, int, int>{576, 1, 64},
                                           {576, 2, 1},
                                           {1536, 1, 512},
                                           {1540, 1, 1},
                                           {1536, 2, 1},
                                           {8960, 1, 256}}) {
      constexpr int64_t rows = 1;
      CAPTURE(k);
      REQUIRE(kernels::cuda::can_fuse(rows, k));
      // Of 1540 values many tiles a block, whose ring is filled several times.
      const Problem p({rows, k == 1540 ? 2000 : k < 8960 ? 600 : 80, k}, grouped, 1, planes);
      const DeviceWeights w(p);
      Values values;
      std::vector<float> x(rows * p.shape.k), norm(p.shape.k);
      for (float& value : x) value = values.real();
      for (float& value : norm) value = values.real();
      const OnGpu<float> source(x), weight(norm), scale(planes * rows * p.groups);
      const OnGpu<int8_t> q(planes * rows * activation_stride(p.shape.k));
      const OnGpu<int32_t> bad(std::vector<int32_t>{1000});
      kernels::cuda::RowSource from = source_of(source.data(), k, k, planes, bad.data(), block);
      from.norm = weight.data();
      using kernels::cuda::Output;
      for (const Output output : {Output::assign, Output::add, Output::silu_mul}) {
        CAPTURE(static_cast<int>(output));
        std::vector<float> before(rows * p.columns);
        for (float& value : before) value = values.real();
        const OnGpu<float> fused(before), apart(before);
        kernels::cuda::Linear linear = linear_of(p, w, q, scale, fused, output);
        kernels::cuda::linear_decode(linear, &from, default_queue());
        kernels::cuda::quantize_rows(from, linear.x, rows, grouped, default_queue());
        linear.out = apart.data();
        kernels::cuda::linear_decode(linear, nullptr, default_queue());
        CHECK(first_difference(fused.host(), apart.host(), p.columns) == "");
      }
    }
}

TEST_CASE("cuda: one row in blocks of many tiles gives the bits of two kernels") {
  if (!has_cuda()) return;
  kernels::cuda::Queue queue = default_queue();
  queue.multiprocessors = 2;
  for (const auto output :
       {kernels::cuda::Output::assign, kernels::cuda::Output::add, kernels::cuda::Output::silu_mul})
    for (const auto& [k, planes, normed] : {std::tuple<int64_t, int, bool>{896, 1, true},
                                            {1536, 1, true},
                                            {1536, 2, false},
                                            {2048, 1, false},
                                            {2052, 1, true},
                                            {4864, 2, false},
                                            {9216, 1, false},
                                            {10240, 1, false}}) {
      CAPTURE(k);
      CAPTURE(planes);
      const Problem p({1, 592, k}, false, 1, planes);
      const DeviceWeights w(p);
      Values values;
      std::vector<float> x(k), norm(k), before(p.columns);
      for (float& value : x) value = values.real();
      for (float& value : norm) value = values.real();
      for (float& value : before) value = values.real();
      const OnGpu<float> source(x), weight(norm), scale(planes), fused(before), apart(before);
      const OnGpu<int8_t> q(planes * activation_stride(k));
      const OnGpu<int32_t> bad(std::vector<int32_t>{1000});
      kernels::cuda::RowSource from = source_of(source.data(), k, k, planes, bad.data(), 1);
      if (normed) from.norm = weight.data();
      kernels::cuda::Linear linear = linear_of(p, w, q, scale, fused, output);
      kernels::cuda::linear_decode(linear, &from, queue);
      kernels::cuda::quantize_rows(from, linear.x, 1, false, queue);
      linear.out = apart.data();
      kernels::cuda::linear_decode(linear, nullptr, queue);
      CHECK(first_difference(fused.host(), apart.host(), p.columns) == "");
    }
}

/// A queue of a device with so many multiprocessors, with clusters where this one has them.
kernels::cuda::Queue cluster_queue(int multiprocessors) {
  kernels::cuda::Queue queue = default_queue();
  int clusters = 0;
  cuda::check(cudaDeviceGetAttribute(&clusters, cudaDevAttrClusterLaunch, 0),
              "cudaDeviceGetAttribute");
  queue.clusters = clusters > 0 && queue.architecture >= 90;
  queue.multiprocessors = multiprocessors;
  return queue;
}

TEST_CASE("cuda: a multiplication of slices of rows gives the bits of one of whole rows") {
  if (!has_cuda()) return;
  for (const int multiprocessors : {8, 132})
    for (const auto& [rows, k, planes, block] :
         {std::tuple<int64_t, int64_t, int, int>{1, 2560, 1, 1},
          {1, 2564, 2, 1},
          {1, 8704, 2, 512},
          {1, 8960, 1, 256},
          {1, 8960, 1, 1},
          {1, 8196, 1, 1},
          {1, 10240, 1, 128},
          {2, 2564, 1, 1},
          {8, 8960, 1, 256},
          {4, 8704, 2, 512},
          {9, 2564, 1, 1},
          {16, 8960, 1, 256},
          {17, 2560, 1, 1},
          {32, 8960, 1, 256}}) {
      CAPTURE(k);
      CAPTURE(rows);
      const kernels::cuda::Queue queue = cluster_queue(multiprocessors);
      kernels::cuda::Queue whole = queue;
      whole.clusters = false;
      const Problem p({rows, 80, k}, false, 1, planes);
      const DeviceWeights w(p);
      Values values;
      std::vector<float> x(rows * k), before(rows * p.columns);
      for (float& value : x) value = values.real();
      for (float& value : before) value = values.real();
      const OnGpu<float> source(x), scale(rows * planes), sliced(before), apart(before);
      const OnGpu<int8_t> q(rows * planes * activation_stride(k));
      const OnGpu<int32_t> bad(std::vector<int32_t>{1000});
      const kernels::cuda::RowSource from =
          source_of(source.data(), k, k, planes, bad.data(), block);
      kernels::cuda::Linear linear = linear_of(p, w, q, scale, sliced, kernels::cuda::Output::add);
      const std::vector<uint64_t> zeros(
          kernels::cuda::slice_sum_words(linear.n_tiles, multiprocessors));
      const OnGpu<uint64_t> slice_sums(zeros);
      linear.slice_sums = slice_sums.data();
      const bool fused = kernels::cuda::can_fuse(rows, k);
      if (!fused) kernels::cuda::quantize_rows(from, linear.x, rows, false, queue);
      kernels::cuda::linear_decode(linear, fused ? &from : nullptr, queue);
      kernels::cuda::quantize_rows(from, linear.x, rows, false, queue);
      linear.out = apart.data();
      kernels::cuda::linear_decode(linear, nullptr, whole);
      CHECK(first_difference(sliced.host(), apart.host(), p.columns) == "");
      CHECK(slice_sums.host() == zeros);
      CHECK(bad.host()[0] == 1000);
    }
}

TEST_CASE("cuda: one row with groups, in teams, slices and tiles, gives the bits of two kernels") {
  if (!has_cuda()) return;
  kernels::cuda::Queue queue = default_queue();
  for (const auto& [n, k, multiprocessors, block] :
       {std::tuple<int64_t, int64_t, int, int>{80, 8960, 132, 1},
        {1536, 8960, 132, 256},
        {300, 5632, 132, 128},
        {592, 1536, 2, 1},
        {592, 1344, 4, 64},
        {592, 1536, 4, 512},
        {80, 576, 132, 64},
        {80, 1536, 132, 512},
        {80, 1540, 132, 1},
        {80, 1984, 132, 1}}) {
    CAPTURE(k);
    CAPTURE(n);
    queue.multiprocessors = multiprocessors;
    const Problem p({1, n, k}, true, 1, 1);
    const DeviceWeights w(p);
    Values values;
    std::vector<float> x(k), norm(k), before(p.columns);
    for (float& value : x) value = values.real();
    for (float& value : norm) value = values.real();
    for (float& value : before) value = values.real();
    const OnGpu<float> source(x), weight(norm), scale(p.groups), fused(before), apart(before);
    const OnGpu<int8_t> q(activation_stride(k));
    const OnGpu<int32_t> bad(std::vector<int32_t>{1000});
    const OnGpu<uint32_t> left(
        kernels::cuda::sliced_group_words(p.columns / 16, kernels::cuda::num_chunks(k)),
        kernels::cuda::missing_word);
    kernels::cuda::RowSource from = source_of(source.data(), k, k, 1, bad.data(), block);
    if (k < 2048) from.norm = weight.data();
    kernels::cuda::Linear linear = linear_of(p, w, q, scale, fused, kernels::cuda::Output::add);
    linear.slice_groups = left.data();
    kernels::cuda::linear_decode(linear, &from, queue);
    kernels::cuda::quantize_rows(from, linear.x, 1, true, queue);
    linear.out = apart.data();
    kernels::cuda::linear_decode(linear, nullptr, queue);
    CHECK(first_difference(fused.host(), apart.host(), p.columns) == "");
    const std::vector<uint32_t> words = left.host();
    CHECK(std::count(words.begin(), words.end(), kernels::cuda::missing_word) == std::ssize(words));
    CHECK(bad.host()[0] == 1000);
  }
}

/// RowSource::peaks of rows of k values: in one place, which is not the same for all.
std::vector<uint32_t> peaks_of(const std::vector<float>& x, int64_t rows, int64_t k) {
  constexpr int64_t places = kernels::cuda::peak_places;
  std::vector<uint32_t> peaks(rows * places);
  for (int64_t i = 0; i < rows * k; ++i) {
    uint32_t& peak = peaks[i / k * places + i / k % places];
    peak = std::max(peak, __builtin_bit_cast(uint32_t, std::abs(x[i])));
  }
  return peaks;
}

TEST_CASE("cuda: a multiplication whose warps quantize gives the bits of two kernels") {
  if (!has_cuda()) return;
  for (const auto& [rows, k, n] : {std::tuple<int64_t, int64_t, int64_t>{2, 2560, 80},
                                   {5, 8960, 80},
                                   {8, 8960, 600},
                                   {8, 4864, 300},
                                   {1, 8960, 80},
                                   {1, 8960, 1536},
                                   {1, 8964, 300}}) {
    CAPTURE(k);
    CAPTURE(rows);
    const kernels::cuda::Queue queue = cluster_queue(132);
    const Problem p({rows, n, k}, false, 1, 1);
    const DeviceWeights w(p);
    Values values;
    std::vector<float> x(rows * k), before(rows * p.columns);
    for (float& value : x) value = values.real();
    for (float& value : before) value = values.real();
    const OnGpu<float> source(x), scale(rows), by_warps(before), apart(before);
    const OnGpu<uint32_t> peaks(peaks_of(x, rows, k));
    const OnGpu<int8_t> q(rows * activation_stride(k));
    const OnGpu<int32_t> bad(std::vector<int32_t>{1000});
    kernels::cuda::RowSource from = source_of(source.data(), k, k, 1, bad.data(), 1);
    from.peaks = peaks.data();
    kernels::cuda::Linear linear = linear_of(p, w, q, scale, by_warps, kernels::cuda::Output::add);
    const std::vector<uint64_t> zeros(
        kernels::cuda::slice_sum_words(linear.n_tiles, queue.multiprocessors));
    const OnGpu<uint64_t> slice_sums(zeros);
    linear.slice_sums = slice_sums.data();
    if (!kernels::cuda::takes_peaks(linear, from, queue)) {
      CHECK(!queue.clusters);  // all of these can
      continue;
    }
    kernels::cuda::linear_decode(linear, &from, queue);
    kernels::cuda::quantize_rows(from, linear.x, rows, false, queue);
    linear.out = apart.data();
    kernels::cuda::linear_decode(linear, nullptr, queue);
    CHECK(first_difference(by_warps.host(), apart.host(), p.columns) == "");
    CHECK(slice_sums.host() == zeros);
    CHECK(bad.host()[0] == 1000);
    std::vector<uint32_t> not_finite = peaks_of(x, rows, k);
    not_finite.back() = 0x7f800000u;
    const OnGpu<uint32_t> infinite(not_finite);
    from.peaks = infinite.data();
    kernels::cuda::linear_decode(linear, &from, queue);
    CHECK(bad.host()[0] == 7);
  }
}

TEST_CASE("cuda: the largest magnitudes of gate and up's rows come with them") {
  if (!has_cuda()) return;
  kernels::cuda::Queue queue = default_queue();
  queue.multiprocessors = 3;
  for (const int64_t rows : {2, 7, 8}) {
    const Problem p({rows, 250, 132}, false, 2, 1);
    const DeviceWeights w(p);
    const OnGpu<int8_t> x(p.x);
    const OnGpu<float> x_scale(p.x_scale), out(rows * p.columns);
    const OnGpu<uint32_t> peaks(rows * kernels::cuda::peak_places, uint32_t{0});
    kernels::cuda::Linear linear =
        linear_of(p, w, x, x_scale, out, kernels::cuda::Output::silu_mul);
    if (kernels::cuda::gives_peaks(linear, queue) == 0) {
      CHECK(queue.architecture < 90);
      continue;
    }
    linear.peaks = peaks.data();
    kernels::cuda::linear_decode(linear, nullptr, queue);
    CHECK(largest_of_peaks(peaks.host(), rows) == largest_of_rows(out.host(), rows));
  }
}

TEST_CASE("cuda: one row's largest magnitude comes with it from teams") {
  if (!has_cuda()) return;
  kernels::cuda::Queue queue = default_queue();
  queue.multiprocessors = 3;
  constexpr int64_t k = 1536;
  const Problem p({1, 250, k}, false, 2, 1);
  const DeviceWeights w(p);
  Values values;
  std::vector<float> x(k);
  for (float& value : x) value = values.real();
  const OnGpu<float> source(x), scale(1), out(p.columns);
  const OnGpu<int8_t> q(activation_stride(k));
  const OnGpu<int32_t> bad(std::vector<int32_t>{1000});
  const kernels::cuda::RowSource from = source_of(source.data(), k, k, 1, bad.data(), 1);
  kernels::cuda::Linear linear = linear_of(p, w, q, scale, out, kernels::cuda::Output::silu_mul);
  const int64_t words = kernels::cuda::gives_peaks(linear, queue);
  if (words == 0) {
    CHECK(queue.architecture < 90);
    return;
  }
  const OnGpu<uint32_t> peaks(words, uint32_t{0});
  linear.peaks = peaks.data();
  kernels::cuda::linear_decode(linear, &from, queue);
  CHECK(largest_of_peaks(peaks.host(), 1) == largest_of_rows(out.host(), 1));
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

TEST_CASE("cuda: products with fp16 weights come near the exact ones, the same in every batch") {
  if (!has_cuda()) return;
  for (const int64_t k : {4, 96, 260, 8960})
    for (const int64_t n : {40, 100}) {
      CAPTURE(k);
      CAPTURE(n);
      constexpr int64_t most = 70;
      const int64_t columns = padded_n(n), stride = kernels::cuda::half_stride(k);
      Values values;
      std::vector<float> x(most * k), bias(columns, 0.0f);
      for (float& value : x) value = 1000 * values.real() * values.real();
      for (int64_t i = 0; i < n; ++i) bias[i] = values.real();
      std::vector<uint16_t> w(n * k);
      for (uint16_t& value : w) value = kernels::ref::half_of_float(values.real());
      const OnGpu<uint16_t> rows(w), weight(columns * stride), halves(2 * most * stride, 0x7e00);
      const OnGpu<float> source(x), on_device(bias), scale(most);
      const OnGpu<int32_t> bad(std::vector<int32_t>{1000});
      kernels::cuda::repack_f16({rows.data(), weight.data(), n, k, 0, 1}, default_queue());
      std::vector<float> first;
      for (const int64_t count : {1, 9, 20, 70}) {
        const kernels::cuda::HalfRows split{halves.data(), scale.data(), stride, count * stride};
        kernels::cuda::split_rows(source_of(source.data(), k, k, 1, bad.data(), 1), split, count,
                                  default_queue());
        const OnGpu<float> out(count * columns, 0.5f);
        kernels::cuda::linear_f16({count, k, columns / 16, weight.data(), on_device.data(), split,
                                   out.data(), columns, kernels::cuda::Output::add, nullptr},
                                  default_queue());
        const std::vector<float> got = out.host();
        double worst = 0;
        for (int64_t row = 0; row < count; ++row)
          for (int64_t i = 0; i < n; ++i) {
            double sum = 0.5 + bias[i], size = 1;
            for (int64_t j = 0; j < k; ++j) {
              const double product =
                  double{x[row * k + j]} * kernels::ref::float_of_half(w[i * k + j]);
              sum += product;
              size += std::abs(product);
            }
            const double error = std::abs(got[row * columns + i] - sum) / size;
            worst = error <= worst ? worst : error;
          }
        CHECK(worst < 1e-6);
        if (first.empty()) first = got;
        CHECK(std::equal(first.begin(), first.end(), got.begin()));
      }
      CHECK(bad.host()[0] == 1000);
    }
}

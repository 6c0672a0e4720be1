// The int8 kernels of kernels.def that this CPU can run, on one thread, at the linears' shapes of
// R1-Distill-Qwen-1.5B: from a token (m = 1) over batches to a prompt (m = 512). The weights come
// from memory, as they do in a model: 256 MB of them take turns. Each row also gives its share of
// what the probe of the same instruction set reaches in the same run.
#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "bench/probes.h"
#include "lib/core/aligned.h"
#include "lib/core/huge_memory.h"
#include "lib/core/huge_pages.h"

namespace {

using namespace octet;
using namespace octet::bench;
using namespace octet::kernels;

struct Shape {
  int64_t m, n, k;
};
constexpr int64_t rows[] = {1, 4, 8, 16, 64, 512};
constexpr int64_t matrices[][2] = {{1536, 1536}, {8960, 1536}, {1536, 8960}};  // n, k

constexpr int64_t pool_bytes = int64_t{256} << 20;

template <class T>
AlignedBuffer<T> filled(int64_t count, T value) {
  AlignedBuffer<T> buffer(static_cast<size_t>(count));
  std::fill_n(buffer.data(), count, value);
  return buffer;
}

/// Weights with the scales and sums of their groups. The values do not matter to the time, as long
/// as no scale is subnormal.
struct Weights {
  HugeMemory memory{pool_bytes};  // as a model's weights in memory
  const int8_t* w = reinterpret_cast<const int8_t*>(memory.data());
  AlignedBuffer<uint16_t> group_scale = filled<uint16_t>(pool_bytes / group_size, 0x3c00);
  AlignedBuffer<int16_t> group_sum = filled<int16_t>(pool_bytes / group_size, 3 * group_size);

  Weights() { std::memset(memory.data(), 3, pool_bytes); }
};

const Weights& weights() {
  static const Weights all;
  return all;
}

/// Activations in a layout that the kernels take.
struct Activations {
  Activations(const Shape& s, ActivationLayout layout)
      : a(activation_bytes(layout, s.m, s.k), 5),
        a_scale(s.m * num_groups(s.k), 0.5f),
        w_scale(s.n, 0.5f),
        w_sum(s.n, 3) {}
  std::vector<int8_t> a;
  std::vector<float> a_scale, w_scale;
  std::vector<int32_t> w_sum;
};

/// A multiplication of type Gemm with everything but the weights and the result.
template <class Gemm>
Gemm describe(const Shape& s, const Activations& x) {
  Gemm gemm{};
  gemm.m = s.m, gemm.n = s.n, gemm.k = s.k;
  gemm.a = x.a.data(), gemm.lda = s.k, gemm.ldc = s.n;
  if constexpr (requires { gemm.a_scale; }) gemm.a_scale = x.a_scale.data();
  if constexpr (std::is_same_v<Gemm, GemmS8>) gemm.w_scale = x.w_scale.data();
  if constexpr (!std::is_same_v<Gemm, GemmS8Grouped>) gemm.w_sum = x.w_sum.data();
  return gemm;
}

/// Sets the matrix that starts at weight `at`, and returns its bytes.
template <class Gemm>
int64_t use_weights(Gemm& gemm, int64_t at) {
  const int64_t size = gemm.n * gemm.k;
  gemm.w = weights().w + at;
  if constexpr (std::is_same_v<Gemm, GemmS8Grouped>) {
    gemm.w_scale = weights().group_scale.data() + at / group_size;
    gemm.w_sum = weights().group_sum.data() + at / group_size;
    return size + size / group_size * 4;
  }
  return size;
}

/// Bytes a second of the read_sum probe, over the weights.
double bandwidth(Isa isa) {
  static std::map<Isa, double> known;
  if (!known.contains(isa))
    known[isa] = best_rate([read = of_isa<ReadFunction>("read_sum", isa)] {
      benchmark::DoNotOptimize(read(weights().w, pool_bytes));
      return pool_bytes;
    });
  return known[isa];
}

template <class Gemm>
void run_gemm(benchmark::State& state, void (*function)(const Gemm&), Isa isa, const Shape& s) {
  const ActivationLayout layout = activation_layout(isa, s.m);
  const Activations x(s, layout);
  std::vector<std::remove_pointer_t<decltype(Gemm::c)>> c(s.m * s.n);
  Gemm gemm = describe<Gemm>(s, x);
  gemm.c = c.data();
  gemm.layout = layout;
  gemm.single_stream = reads_single_stream(isa) && in_huge_pages(weights().w);
  const int64_t size = s.n * s.k;
  int64_t at = 0, bytes = 0;
  for (auto _ : state) {
    bytes = use_weights(gemm, at);
    function(gemm);
    benchmark::ClobberMemory();
    at = at + 2 * size <= pool_bytes ? at + size : 0;
  }
  const double operations = 2.0 * static_cast<double>(s.m * size);
  state.counters["ops/s"] = rate(operations);
  state.counters["bytes/s"] = rate(static_cast<double>(bytes));
  state.counters["of_peak"] = rate(operations / peak("peak_int8", isa));
  state.counters["of_bandwidth"] = rate(static_cast<double>(bytes) / bandwidth(isa));
}

void run_quantize(benchmark::State& state, QuantizeFunction function, int64_t k) {
  std::vector<float> x(k, 0.5f), scale(num_groups(k));
  std::vector<int8_t> q(padded_k(k));
  for (auto _ : state) {
    benchmark::DoNotOptimize(function({k, x.data(), q.data(), scale.data(), 0x80}));
    benchmark::ClobberMemory();
  }
  state.counters["bytes/s"] = rate(static_cast<double>(k) * sizeof(float));
}

void run_peak(benchmark::State& state, PeakFunction function) {
  uint64_t operations = 0;
  for (auto _ : state) operations = function(uint64_t{1} << 16);
  state.counters["ops/s"] = rate(static_cast<double>(operations));
}

void run_read(benchmark::State& state, ReadFunction function) {
  const int8_t* data = weights().w;
  for (auto _ : state) benchmark::DoNotOptimize(function(data, pool_bytes));
  state.counters["bytes/s"] = rate(pool_bytes);
}

/// The rows of one operation; none if its operands are not those of an int8 kernel or a probe.
template <class Function>
void add_op(const char* op) {
  using benchmark::State;
  for (const auto& [name, isa, function] : runnable_rows<Function>(op)) {
    if constexpr (std::is_same_v<Function, GemmS8Function> ||
                  std::is_same_v<Function, GemmS8GroupedFunction> ||
                  std::is_same_v<Function, GemmS8S32Function>) {
      for (int64_t m : rows)
        for (const auto& [n, k] : matrices)
          add(name + "/m:" + std::to_string(m) + "/n:" + std::to_string(n) +
                  "/k:" + std::to_string(k),
              [=, f = function, i = isa, s = Shape{m, n, k}](State& state) {
                run_gemm(state, f, i, s);
              });
    } else if constexpr (std::is_same_v<Function, QuantizeFunction>) {
      for (int64_t k : {1536, 8960})
        add(name + "/k:" + std::to_string(k),
            [=, f = function](State& state) { run_quantize(state, f, k); });
    } else if constexpr (std::is_same_v<Function, PeakFunction>) {
      add(name, [f = function](State& state) { run_peak(state, f); });
    } else if constexpr (std::is_same_v<Function, ReadFunction>) {
      add(name, [f = function](State& state) { run_read(state, f); });
    }
  }
}

[[maybe_unused]] const bool added = [] {
#define OCTET_OP(op, type) add_op<type>(#op);
#define OCTET_KERNEL(op, isa, function)
#include "kernels/kernels.def"
#undef OCTET_OP
#undef OCTET_KERNEL
  return true;
}();

}  // namespace

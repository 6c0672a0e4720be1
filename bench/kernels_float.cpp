// The other kernels of kernels.def that this CPU can run, on one thread, at the shapes of
// R1-Distill-Qwen-1.5B: rows of fp32 that lie in the L2 cache, as they do between two linears, and
// attention, whose rows also give their share of the fp32 peak.
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "bench/probes.h"
#include "lib/core/aligned.h"
#include "lib/core/huge_memory.h"

namespace {

using namespace octet;
using namespace octet::bench;
using namespace octet::kernels;
using benchmark::State;

constexpr int64_t hidden_size = 1536, intermediate_size = 8960, head_dim = 128, query_heads = 6;
constexpr int64_t rotation = 256, lora_rank = 16;

/// `count` floats, no two neighbours alike, as activations would be.
AlignedBuffer<float> floats(int64_t count) {
  AlignedBuffer<float> buffer(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    buffer.data()[i] = static_cast<float>(i * 37 % 101 - 50) / 25.0f;
  return buffer;
}

AlignedBuffer<uint16_t> halves(int64_t count) {
  AlignedBuffer<uint16_t> buffer(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    buffer.data()[i] = static_cast<uint16_t>(0x3000 + i * 37 % 1024);
  return buffer;
}

/// One call of a kernel, of `bytes` read and written.
void measure(State& state, int64_t bytes, const std::function<void()>& call) {
  for (auto _ : state) {
    call();
    benchmark::ClobberMemory();
  }
  state.counters["bytes/s"] = rate(static_cast<double>(bytes));
}

/// Rows of n values: x and w are read, y is written.
struct Operands {
  explicit Operands(int64_t n) : x(floats(n)), w(floats(n)), y(floats(n)), h(halves(n)) {}
  AlignedBuffer<float> x, w, y;
  AlignedBuffer<uint16_t> h;
};

template <class Function>
void add_rows(const char* op, int64_t n, int64_t bytes_a_value,
              void (*call)(Function, Operands&, int64_t)) {
  for (const auto& row : runnable_rows<Function>(op))
    add(row.name + "/n:" + std::to_string(n), [=, f = row.function](State& state) {
      Operands operands(n);
      measure(state, n * bytes_a_value, [&] { call(f, operands, n); });
    });
}

void add_float_rows() {
  add_rows<RmsNormFunction>("rms_norm_f32", hidden_size, 12,
                            [](RmsNormFunction f, Operands& o, int64_t n) {
                              f(o.x.data(), o.w.data(), o.y.data(), n, 1e-6f);
                            });
  add_rows<SoftmaxFunction>(
      "softmax_f32", hidden_size, 8,
      [](SoftmaxFunction f, Operands& o, int64_t n) { f(o.x.data(), o.y.data(), n); });
  add_rows<SiluMulFunction>(
      "silu_mul_f32", intermediate_size, 12,
      [](SiluMulFunction f, Operands& o, int64_t n) { f(o.x.data(), o.w.data(), o.y.data(), n); });
  add_rows<HadamardFunction>(
      "hadamard_f32", intermediate_size, 8,
      [](HadamardFunction f, Operands& o, int64_t n) { f(o.x.data(), n, rotation); });
  add_rows<AddFunction>("add_f32", hidden_size, 12, [](AddFunction f, Operands& o, int64_t n) {
    f(o.x.data(), o.y.data(), n);
  });
  add_rows<DotF32Function>("dot_f32", hidden_size, 8, [](DotF32Function f, Operands& o, int64_t n) {
    benchmark::DoNotOptimize(f(o.x.data(), o.w.data(), n));
  });
  add_rows<DotF16Function>("dot_f16_f32", hidden_size, 6,
                           [](DotF16Function f, Operands& o, int64_t n) {
                             benchmark::DoNotOptimize(f(o.h.data(), o.x.data(), n));
                           });
  add_rows<ConvertF32F16Function>(
      "convert_f32_f16", hidden_size, 6,
      [](ConvertF32F16Function f, Operands& o, int64_t n) { f(o.x.data(), o.h.data(), n); });
  add_rows<ConvertF16F32Function>(
      "convert_f16_f32", hidden_size, 6,
      [](ConvertF16F32Function f, Operands& o, int64_t n) { f(o.h.data(), o.y.data(), n); });
}

/// By an angle that keeps the length of x, which would soon be subnormal, and slow, otherwise.
void add_rope() {
  for (const auto& row : runnable_rows<RopeFunction>("rope_f32"))
    add(row.name + "/n:128", [f = row.function](State& state) {
      Operands o(head_dim);
      std::fill_n(o.w.data(), head_dim / 2, 0.8f);
      std::fill_n(o.y.data(), head_dim / 2, 0.6f);
      measure(state, head_dim * 12, [&] { f(o.x.data(), o.w.data(), o.y.data(), head_dim); });
    });
}

/// What adapters add to a linear: t = A x, four rows at a time, and y += B t.
void add_low_rank() {
  for (const auto& row : runnable_rows<ProjectFunction>("project_f16_f32"))
    add(row.name + "/k:1536", [f = row.function](State& state) {
      Operands o(hidden_size);
      const auto w = halves(hidden_size * project_rows);
      measure(state, hidden_size * (4 + 2 * project_rows), [&] {
        f({hidden_size, o.x.data(), w.data(), o.y.data()});
      });
    });
  for (const auto& row : runnable_rows<LowRankFunction>("low_rank_f16_f32"))
    add(row.name + "/n:1536", [f = row.function](State& state) {
      Operands o(hidden_size);
      const auto w = halves(hidden_size * lora_rank);
      measure(state, hidden_size * (8 + 2 * lora_rank), [&] {
        f({hidden_size, lora_rank, o.x.data(), w.data(), o.y.data()});
      });
    });
}

/// Blocks of keys and values of one kv head, taken in turns from 256 MB: they come from memory, as
/// in a decode step, unless `repeat` is set, as for the later rows of a prompt.
class Blocks {
 public:
  Blocks(int64_t block_bytes, int64_t count) : bytes_(block_bytes) {
    std::memset(memory_.data(), 0, pool_bytes);  // as any type: zeros
    keys.resize(static_cast<size_t>(count));
    values.resize(static_cast<size_t>(count));
    next_keys.resize(static_cast<size_t>(count));
    next(false);
  }
  void next(bool repeat) {
    for (const void*& block : keys) block = take();
    for (const void*& block : values) block = take();
    const int64_t here = at_;
    for (const void*& block : next_keys) block = take();
    at_ = repeat ? 0 : here;
  }
  std::vector<const void*> keys, values, next_keys;

 private:
  static constexpr int64_t pool_bytes = int64_t{256} << 20;
  const void* take() {
    if (at_ + bytes_ > pool_bytes) at_ = 0;
    const void* block = memory_.data() + at_;
    at_ += (bytes_ + 63) / 64 * 64;
    return block;
  }
  HugeMemory memory_{pool_bytes};
  int64_t bytes_, at_ = 0;
};

/// One kv head of `tokens` tokens behind `depth` positions.
void run_attention(State& state, AttentionFunction function, Isa isa, int64_t block_bytes,
                   int64_t tokens, int64_t depth) {
  const int64_t rows = tokens * query_heads;
  Blocks blocks(block_bytes, (depth + kv_block - 1) / kv_block);
  const auto q = floats(rows * head_dim);
  auto partial = floats(rows * attention_partial(head_dim));
  auto scratch = floats(attention_scratch(head_dim));
  const std::vector<int64_t> length(static_cast<size_t>(rows), depth);
  for (auto _ : state) {
    blocks.next(tokens > 1);
    function({rows, head_dim, q.data(), head_dim, blocks.keys.data(), blocks.values.data(),
              length.data(), 0, depth, 0.088f, partial.data(), scratch.data(),
              blocks.next_keys.data(), tokens > 1 ? 0 : std::min(depth, kv_span) / kv_block});
    benchmark::ClobberMemory();
  }
  const double operations = 4.0 * static_cast<double>(rows * head_dim * depth);
  state.counters["ops/s"] = rate(operations);
  state.counters["of_peak"] = rate(operations / peak("peak_fp32", isa));
  state.counters["bytes/s"] =
      rate(static_cast<double>(2 * depth * block_bytes) / static_cast<double>(kv_block));
}

void add_attention(const char* op, int64_t block_bytes) {
  constexpr int64_t shapes[][2] = {{1, 64}, {1, 280}, {1, 512}, {1, 4096}, {16, 512}, {16, 2048}};
  for (const auto& row : runnable_rows<AttentionFunction>(op))
    for (const auto& [tokens, depth] : shapes)
      add(row.name + "/tokens:" + std::to_string(tokens) + "/depth:" + std::to_string(depth),
          [=, f = row.function, isa = row.isa, t = tokens, d = depth](State& state) {
            run_attention(state, f, isa, block_bytes, t, d);
          });
}

void add_merge() {
  constexpr int64_t parts = 8;
  constexpr int64_t stride = query_heads * attention_partial(head_dim);
  for (const auto& row : runnable_rows<AttentionMergeFunction>("attention_merge_f32"))
    add(row.name + "/parts:" + std::to_string(parts), [f = row.function](State& state) {
      auto partial = floats(parts * stride), out = floats(query_heads * head_dim);
      for (int64_t i = 1; i <= parts * query_heads; ++i)  // each row's sum
        partial.data()[i * attention_partial(head_dim) - 1] = 1;
      measure(state, (parts * stride + query_heads * head_dim) * 4, [&] {
        f({query_heads, head_dim, parts, partial.data(), stride, out.data(), head_dim});
      });
    });
}

[[maybe_unused]] const bool added = [] {
  add_float_rows();
  add_rope();
  add_low_rank();
  add_attention("attention_f32", kv_block * head_dim * 4);
  add_attention("attention_f16", kv_block * head_dim * 2);
  add_attention("attention_s8", kv_s8_bytes(head_dim));
  add_attention("attention_s16", kv_s16_bytes(head_dim));
  add_merge();
  return true;
}();

}  // namespace

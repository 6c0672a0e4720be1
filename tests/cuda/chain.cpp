// The first operations of a layer as one kernel against the same ones apart, bit for bit.
#include <bit>
#include <random>

#include "quant/pack.h"
#include "tests/cuda/device.h"

using namespace octet;
using namespace octet::testing;
using kernels::kv_block;
using kernels::padded_n;
using namespace octet::kernels::cuda;

namespace {

constexpr int64_t head_dim = 64;

struct Shape {
  int64_t hidden, heads, kv_heads;
  int64_t q() const { return heads * head_dim; }
  int64_t kv() const { return kv_heads * head_dim; }
  int64_t qkv() const { return q() + 2 * kv(); }
};

class Reals {
 public:
  std::vector<float> operator()(int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = static_cast<float>(generator_() % 20001) / 10000.0f - 1.0f;
    return values;
  }
  std::vector<int8_t> bytes(int64_t count) {
    std::vector<int8_t> values(static_cast<size_t>(count));
    for (int8_t& value : values) value = static_cast<int8_t>(generator_());
    return values;
  }

 private:
  std::mt19937 generator_{3};
};

/// A multiplication of a row of k values, which it normalizes if it is `normed`.
struct Task {
  Task(int64_t n, int64_t row_k, bool normed, Output output, Reals& reals)
      : k(row_k),
        weight(reals.bytes(weight_bytes(n, k))),
        scale(reals(n)),
        bias(reals(n)),
        norm(reals(k)),
        linear{1,
               k,
               n / 16,
               false,
               1,
               weight.data(),
               scale.data(),
               nullptr,
               0,
               0,
               bias.data(),
               {nullptr, nullptr, activation_stride(k)},
               nullptr,
               n,
               output} {
    source.k = source.stride = k;
    source.norm = normed ? norm.data() : nullptr;
    source.eps = 1e-6f;
    source.hadamard = 1;
    source.planes = 1;
    source.check = {bad.data(), 0};
  }

  int64_t k;
  OnGpu<int8_t> weight;
  OnGpu<float> scale, bias, norm;
  OnGpu<int32_t> bad{1, 1000};
  octet::kernels::cuda::Linear linear;
  RowSource source{};
};

/// A layer up to gate and up, for a row behind length - 1 positions.
struct Layer {
  Layer(const Shape& of, int64_t length, const Queue& on)
      : shape(of),
        queue(on),
        qkv(shape.qkv(), shape.hidden, true, Output::assign, reals),
        o(shape.hidden, shape.q(), false, Output::add, reals),
        gate_up(2 * gated_n, shape.hidden, true, Output::silu_mul, reals),
        row(reals(shape.hidden)),
        cache(halves(reals, ceil_div(length, kv_block) * block_halves())),
        table(blocks(length)),
        step(std::vector<StepRow>{{0, static_cast<int32_t>(length - 1), 0,
                                   static_cast<int32_t>(length - 1), table.data()}}),
        angles(reals(head_dim)),
        splits(launched_splits(length, split_groups(queue.architecture, queue.shared_bytes))),
        partial(shape.kv_heads * split_results(splits) * split_part_words + 1, missing_word),
        readers(2, missing_word),
        awaited(shape.qkv() + shape.q() + shape.hidden, std::bit_cast<float>(missing_word)),
        projected(shape.qkv()),
        attended(shape.q()) {
    qkv.source.values = row.data();
    qkv.linear.out = projected.data();
    o.source.values = attended.data();
    o.linear.out = row.data();
    gate_up.source.values = row.data();
    gate_up.linear.out = gated.data();
  }

  static constexpr int64_t gated_n = 320;
  int64_t block_halves() const { return 2 * shape.kv() * kv_block; }
  static std::vector<uint16_t> halves(Reals& reals, int64_t count) {
    std::vector<uint16_t> values;
    for (const int8_t byte : reals.bytes(count))  // of magnitudes from 1 to 2
      values.push_back(static_cast<uint16_t>(0x3c00 | (byte & 0x7f) << 3 | (byte & 0x80) << 8));
    return values;
  }
  std::vector<std::byte*> blocks(int64_t length) const {
    std::vector<std::byte*> all;
    for (int64_t i = 0; i < ceil_div(length, kv_block); ++i)
      all.push_back(reinterpret_cast<std::byte*>(cache.data() + i * block_halves()));
    return all;
  }
  SplitAttention attention(const float* of, float* out) const {
    return {1,
            nullptr,
            {shape.heads, shape.kv_heads, head_dim, 0},
            step.data(),
            {of, of + shape.q(), of + shape.q() + shape.kv(), shape.qkv(), angles.data(), nullptr,
             nullptr, 1e-6f},
            0.125f,
            splits,
            partial.data(),
            out,
            shape.q(),
            false,
            {}};
  }
  /// following: of a chain, 0 to 2.
  void run_chain(int following) const {
    float *of_qkv = awaited.data(), *of_attention = of_qkv + shape.qkv(),
          *of_hidden = of_attention + shape.q();
    RowChain chain{{qkv.linear, qkv.source, of_qkv},
                   attention(of_qkv, following > 0 ? of_attention : attended.data()),
                   {{o.linear, o.source, following > 1 ? of_hidden : nullptr, readers.data()},
                    {gate_up.linear, gate_up.source, nullptr, readers.data() + 1}},
                   following};
    chain.following[0].source.values = of_attention;
    chain.following[1].source.values = of_hidden;
    row_chain(chain, queue);
    if (following < 1) linear_decode(o.linear, &o.source, queue);
    if (following < 2) linear_decode(gate_up.linear, &gate_up.source, queue);
  }
  void run_apart() const {
    linear_decode(qkv.linear, &qkv.source, queue);
    attention_split(attention(projected.data(), attended.data()), queue);
    linear_decode(o.linear, &o.source, queue);
    linear_decode(gate_up.linear, &gate_up.source, queue);
  }
  bool all_missing() const {
    for (const float value : awaited.host())
      if (std::bit_cast<uint32_t>(value) != missing_word) return false;
    for (const auto& words : {partial.host(), readers.host()})
      for (const uint32_t word : words)
        if (word != missing_word) return false;
    return true;
  }

  Reals reals;
  Shape shape;
  Queue queue;
  Task qkv, o, gate_up;
  OnGpu<float> row;
  OnGpu<uint16_t> cache;
  OnGpu<std::byte*> table;
  OnGpu<StepRow> step;
  OnGpu<float> angles;
  int64_t splits;
  OnGpu<uint32_t> partial, readers;
  OnGpu<float> awaited;
  OnGpu<float> projected, attended, gated{gated_n};
};

}  // namespace

TEST_CASE("cuda: operations of a row as a chain in one kernel give the bits of kernels apart") {
  if (!has_cuda()) return;
  const Queue queue = default_queue();
  if (queue.architecture >= 80) {
    MESSAGE("not run: the code of the device chains nothing");
    return;
  }
  for (const int multiprocessors : {2, 40})
    for (const Shape& shape : {Shape{256, 4, 2}, {1536, 24, 4}, {1792, 28, 4}, {1536, 4, 2}})
      for (const int64_t length : {1, 64, 200, 700, 8300})
        for (const int following : {0, 1, 2}) {
          if (length > 200 && (following < 2 || shape.hidden > 256)) continue;
          if (following > 0 && !can_chain_both(shape.hidden, shape.q())) continue;
          CAPTURE(shape.hidden);
          CAPTURE(length);
          CAPTURE(following);
          Queue small = queue;
          small.multiprocessors = multiprocessors;
          const Layer chained(shape, length, small), apart(shape, length, small);
          for (int turn = 0; turn < 2; ++turn) {  // the second finds what it needs as missing
            chained.run_chain(following);
            apart.run_apart();
          }
          CHECK(chained.gated.host() == apart.gated.host());
          CHECK(chained.row.host() == apart.row.host());
          CHECK(chained.cache.host() == apart.cache.host());
          CHECK(chained.all_missing());
        }
}

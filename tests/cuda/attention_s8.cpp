// The int8 cache and attention over it against the CPU's kernels.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "kernels/table.h"
#include "lib/core/cpu.h"
#include "tests/cuda/device.h"

using namespace octet;
using namespace octet::testing;
using kernels::kv_block;
using kernels::cuda::StepRow;

namespace {

struct Shape {
  int64_t heads, kv_heads, head_dim;
  int64_t group() const { return heads / kv_heads; }
};

constexpr int64_t layers = 2, layer = 1;

/// A head as the cache has it, in place; returns the quantized values and their scale.
std::vector<int8_t> quantized(std::vector<float> x, bool spread, float& scale) {
  const auto d = static_cast<int64_t>(x.size());
  if (spread) kernels::hadamard_f32_ref(x.data(), d, d & -d);
  std::vector<int8_t> q(x.size());
  REQUIRE(kernels::quantize_f32_s8_ref({d, x.data(), q.data(), &scale, 0}));
  return q;
}

/// A sequence of `length` positions whose keys and values are in the cache, and queries at the last
/// `rows` of them. Angles turn nothing.
struct Sequence {
  Sequence(const Shape& s, int64_t rows_in, int64_t length_in)
      : shape(s),
        rows(rows_in),
        length(length_in),
        width(s.heads * s.head_dim),
        kv_width(s.kv_heads * s.head_dim),
        blocks((length + kv_block - 1) / kv_block),
        head_bytes(kernels::kv_s8_bytes(s.head_dim)),
        block_bytes(2 * layers * s.kv_heads * head_bytes),
        cache(static_cast<size_t>(blocks * block_bytes), 0) {
    std::mt19937 generator(5);
    const auto real = [&] { return static_cast<float>(generator() % 20001) / 10000.0f - 1.0f; };
    const auto fill = [&](std::vector<float>& to, int64_t count, float scale) {
      for (int64_t i = 0; i < count; ++i) to.push_back(scale * real());
    };
    fill(q, rows * width, 3);
    fill(k, length * kv_width, 1);
    fill(v, length * kv_width, 1);
    for (int64_t j = 0; j < length; ++j)
      for (int64_t head = 0; head < s.kv_heads; ++head) {
        v[j * kv_width + head * s.head_dim] *= 20;  // values' scales differ
        store(j, head);
      }
  }

  std::vector<float> head_of(const std::vector<float>& all, int64_t row, int64_t row_width,
                             int64_t head) const {
    const float* from = all.data() + row * row_width + head * shape.head_dim;
    return {from, from + shape.head_dim};
  }
  /// Where block `index` of the sequence lies: the last one first.
  int8_t* block(int64_t index, int64_t head, bool values) {
    return cache.data() + (blocks - 1 - index) * block_bytes +
           ((2 * layer + (values ? 1 : 0)) * shape.kv_heads + head) * head_bytes;
  }
  void store(int64_t j, int64_t head) {
    const int64_t d = shape.head_dim, slot = j % kv_block, scales = kernels::kv_scales(d);
    for (const bool values : {false, true}) {
      float scale = 0;
      const auto q8 = quantized(head_of(values ? v : k, j, kv_width, head), !values, scale);
      int8_t* to = block(j / kv_block, head, values);
      for (int64_t i = 0; i < d; ++i)
        to[values ? (slot / 4 * kernels::padded_n(d) + i) * 4 + slot % 4
                  : (i / 4 * kv_block + slot) * 4 + i % 4] = q8[i];
      std::memcpy(to + scales + 4 * slot, &scale, 4);
    }
  }

  /// By the CPU's kernels, which take keys xor Table::activation_xor.
  std::vector<float> expected(const kernels::Table& table = select_kernels(kernels::detect_cpu(),
                                                                           "ref")) const {
    Sequence cpu = *this;
    for (int64_t b = 0; b < blocks; ++b)
      for (int64_t head = 0; head < shape.kv_heads; ++head) {
        int8_t* const keys = cpu.block(b, head, false);
        for (int64_t i = 0; i < kernels::kv_scales(shape.head_dim); ++i)
          keys[i] = static_cast<int8_t>(keys[i] ^ table.activation_xor);
      }
    std::vector<float> out(static_cast<size_t>(rows * width));
    std::vector<float> scratch(kernels::attention_scratch(shape.head_dim)),
        partial(kernels::attention_partial(shape.head_dim));
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t head = 0; head < shape.heads; ++head) {
        std::vector<const void*> keys, values;
        for (int64_t b = 0; b < blocks; ++b) {
          keys.push_back(cpu.block(b, head / shape.group(), false));
          values.push_back(cpu.block(b, head / shape.group(), true));
        }
        std::vector<float> query = head_of(q, row, width, head);
        kernels::hadamard_f32_ref(query.data(), shape.head_dim, shape.head_dim & -shape.head_dim);
        const int64_t seen = length - rows + row + 1;
        table.attention_s8({1, shape.head_dim, query.data(), shape.head_dim, keys.data(),
                            values.data(), &seen, 0, seen, scale(), partial.data(),
                            scratch.data()});
        table.attention_merge_f32({1, shape.head_dim, 1, partial.data(), 0,
                                   out.data() + row * width + head * shape.head_dim,
                                   shape.head_dim});
      }
    return out;
  }

  /// As the multiplication before attention leaves them.
  std::vector<float> rows_of() const {
    std::vector<float> all;
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t position = length - rows + row;
      all.insert(all.end(), q.begin() + row * width, q.begin() + (row + 1) * width);
      for (const std::vector<float>* from : {&k, &v})
        all.insert(all.end(), from->begin() + position * kv_width,
                   from->begin() + (position + 1) * kv_width);
    }
    return all;
  }
  std::vector<float> angles() const {
    std::vector<float> all;
    for (int64_t row = 0; row < rows; ++row)
      for (const float value : {1.0f, 0.0f}) all.insert(all.end(), shape.head_dim / 2, value);
    return all;
  }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(shape.head_dim)); }

  Shape shape;
  int64_t rows, length, width, kv_width, blocks, head_bytes, block_bytes;
  std::vector<float> q, k, v;
  std::vector<int8_t> cache;
};

/// The sequence on the device; filled: with the rows' own keys and values in the cache.
struct OnDevice {
  OnDevice(const Sequence& s, bool filled)
      : sequence(s),
        cache(filled ? s.cache : without_rows(s)),
        table(pointers(s, cache.data())),
        step(step_rows(s, table.data())),
        qkv(s.rows_of()),
        angles(s.angles()),
        bad(1, 1000),
        out(s.rows * s.width, NAN),
        queries(s.rows * s.width),
        query_scale(s.rows * s.shape.heads) {}

  static std::vector<int8_t> without_rows(const Sequence& s) {
    Sequence other = s;
    for (int64_t row = s.length - s.rows; row < s.length; ++row) {
      std::fill_n(other.k.begin() + row * s.kv_width, s.kv_width, 0.5f);
      std::fill_n(other.v.begin() + row * s.kv_width, s.kv_width, -0.25f);
      for (int64_t head = 0; head < s.shape.kv_heads; ++head) other.store(row, head);
    }
    return other.cache;
  }
  static std::vector<std::byte*> pointers(const Sequence& s, int8_t* cache) {
    std::vector<std::byte*> all;
    for (int64_t i = 0; i < s.blocks; ++i)
      all.push_back(reinterpret_cast<std::byte*>(cache + (s.blocks - 1 - i) * s.block_bytes));
    return all;
  }
  static std::vector<StepRow> step_rows(const Sequence& s, std::byte* const* table) {
    std::vector<StepRow> all;
    const auto first = static_cast<int32_t>(s.length - s.rows);
    for (int64_t row = 0; row < s.rows; ++row)
      all.push_back({0, first + static_cast<int32_t>(row), 0, first, table});
    return all;
  }

  kernels::cuda::Heads heads() const {
    return {sequence.shape.heads, sequence.shape.kv_heads, sequence.shape.head_dim, layer};
  }
  kernels::cuda::HeadRows rows() const {
    const float *q = qkv.data(), *k = q + sequence.width;
    return {q,
            k,
            k + sequence.kv_width,
            sequence.width + 2 * sequence.kv_width,
            angles.data(),
            nullptr,
            nullptr,
            1e-6f};
  }
  kernels::cuda::FiniteCheck check() const { return {bad.data(), 7}; }

  void cache_rows() const {
    kernels::cuda::cache_rows_s8({{sequence.rows, heads(), step.data(), rows()},
                                  check(),
                                  queries.data(),
                                  query_scale.data()},
                                 default_queue());
  }
  std::vector<float> split() const {
    const kernels::cuda::Queue queue = default_queue();
    const int64_t splits = kernels::cuda::launched_splits(
        sequence.length, kernels::cuda::split_groups(queue.architecture, queue.shared_bytes));
    const OnGpu<uint32_t> partial(std::vector<uint32_t>(sequence.rows * sequence.shape.kv_heads *
                                                            kernels::cuda::split_results(splits) *
                                                            kernels::cuda::split_part_words,
                                                        kernels::cuda::missing_word));
    kernels::cuda::attention_split(
        {sequence.rows, nullptr, heads(), step.data(), rows(), sequence.scale(), splits,
         partial.data(), out.data(), sequence.width, true, check()},
        queue);
    return out.host();
  }
  std::vector<kernels::cuda::AttentionTile> tiles(int64_t query_rows) const {
    std::vector<kernels::cuda::AttentionTile> all;
    for (int64_t query = 0; query < sequence.rows * sequence.shape.group(); query += query_rows)
      all.push_back({0, static_cast<int32_t>(sequence.rows), static_cast<int32_t>(query),
                     static_cast<int32_t>(sequence.length - sequence.rows)});
    return all;
  }
  std::vector<float> prefill(int64_t query_rows) const {
    const OnGpu<kernels::cuda::AttentionTile> on_device(tiles(query_rows));
    kernels::cuda::attention_prefill_s8(
        {std::ssize(tiles(query_rows)), query_rows, on_device.data(), heads(), step.data(),
         queries.data(), query_scale.data(), sequence.scale(), out.data(), sequence.width},
        default_queue());
    return out.host();
  }
  /// In tiles, or row by row.
  std::vector<float> exact(bool tiled) const {
    const kernels::cuda::Queue queue = default_queue();
    const Shape& shape = sequence.shape;
    const std::vector<kernels::cuda::AttentionTile> all =
        tiles(kernels::cuda::exact_query_rows(queue.shared_bytes));
    std::vector<int32_t> row_numbers(static_cast<size_t>(sequence.rows));
    std::iota(row_numbers.begin(), row_numbers.end(), 0);
    const int64_t spans = kernels::cuda::launched_spans(sequence.length);
    const OnGpu<kernels::cuda::AttentionTile> on_device(all);
    const OnGpu<int32_t> row_list(row_numbers);
    const OnGpu<float> partial(
        sequence.rows * kernels::cuda::exact_row_words(shape.kv_heads, shape.head_dim, spans), NAN);
    kernels::cuda::attention_exact(
        {tiled ? std::ssize(all) : sequence.rows, tiled ? on_device.data() : nullptr,
         row_list.data(), heads(), step.data(), rows(), queries.data(), query_scale.data(),
         sequence.scale(), spans, partial.data(), out.data(), sequence.width},
        queue);
    return out.host();
  }

  const Sequence& sequence;
  OnGpu<int8_t> cache;
  OnGpu<std::byte*> table;
  OnGpu<StepRow> step;
  OnGpu<float> qkv, angles;
  OnGpu<int32_t> bad;
  OnGpu<float> out;
  OnGpu<int8_t> queries;
  OnGpu<float> query_scale;
};

/// Products are exact, exponentials not: a weight here and there rounds to the next of its 255
/// steps.
void check_close(const std::vector<float>& got, const std::vector<float>& expected) {
  double worst = 0, sum = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(double{got[i]} - expected[i]);
    worst = difference <= worst ? worst : difference;  // NaN counts
    sum += difference;
  }
  CHECK(worst < 0.02);
  CHECK(sum / static_cast<double>(expected.size()) < 2e-5);
}

}  // namespace

TEST_CASE("cuda: an int8 cache holds the CPU's bits, queries are quantized alike") {
  if (!has_cuda()) return;
  for (const Shape& shape : {Shape{6, 2, 128}, {3, 1, 64}, {2, 1, 40}, {2, 2, 32}, {1, 1, 96}}) {
    CAPTURE(shape.head_dim);
    const Sequence s(shape, 9, 70);  // positions 61 to 69: two blocks
    const OnDevice device(s, false);
    device.cache_rows();
    CHECK(device.cache.host() == s.cache);
    CHECK(device.bad.host()[0] == 1000);
    const std::vector<int8_t> got = device.queries.host();
    const std::vector<float> got_scale = device.query_scale.host();
    for (int64_t row = 0; row < s.rows; ++row)
      for (int64_t head = 0; head < shape.heads; ++head) {
        float scale = 0;
        const auto expected = quantized(s.head_of(s.q, row, s.width, head), true, scale);
        CHECK(std::equal(expected.begin(), expected.end(),
                         got.begin() + row * s.width + head * shape.head_dim));
        CHECK(got_scale[row * shape.heads + head] == scale);
      }
  }
}

TEST_CASE("cuda: attention split by positions over an int8 cache is the CPU's") {
  if (!has_cuda()) return;
  for (const Shape& shape : {Shape{12, 2, 128}, {9, 3, 64}, {2, 2, 32}, {7, 1, 40}, {8, 1, 128}})
    for (int64_t length : {1, 15, 63, 64, 65, 129, 257, 700, 4097}) {
      if (length > 1000 && shape.heads > 8) continue;
      CAPTURE(shape.head_dim);
      CAPTURE(length);
      Sequence s(shape, std::min<int64_t>(length, 3), length);
      const OnDevice device(s, true);
      const std::vector<float> got = device.split();
      check_close(got, s.expected());
      CHECK(device.cache.host() == s.cache);
    }
}

TEST_CASE("cuda: a row alone in its sequence brings its key and value into an int8 cache") {
  if (!has_cuda()) return;
  for (const Shape& shape : {Shape{12, 2, 128}, {7, 1, 40}})
    for (int64_t length : {1, 16, 64, 129, 1200}) {
      CAPTURE(shape.head_dim);
      CAPTURE(length);
      const Sequence s(shape, 1, length);
      const OnDevice device(s, false);
      const std::vector<float> got = device.split();
      CHECK(device.cache.host() == s.cache);
      CHECK(got == OnDevice(s, true).split());
    }
}

TEST_CASE("cuda: attention of a prompt over an int8 cache is the CPU's") {
  if (!has_cuda()) return;
  for (const Shape& shape : {Shape{12, 2, 128}, {6, 2, 64}, {4, 1, 32}})
    for (const auto& [rows, length] :
         {std::pair{1, 1}, {17, 17}, {64, 130}, {65, 65}, {150, 200}}) {
      CAPTURE(shape.head_dim);
      CAPTURE(length);
      Sequence s(shape, rows, length);
      const OnDevice device(s, true);
      device.cache_rows();
      const std::vector<float> got = device.prefill(64);
      check_close(got, s.expected());
      CHECK(device.prefill(128) == got);
    }
}

TEST_CASE("cuda: exact attention over an int8 cache has the CPU's bits") {
  if (!has_cuda()) return;
  for (const Shape& shape :
       {Shape{12, 2, 128}, {9, 3, 64}, {5, 1, 80}, {7, 1, 40}, {8, 1, 128}, {1, 1, 96}})
    for (int64_t length : {1, 15, 63, 65, 511, 513, 1300}) {
      if (length > 600 && shape.heads > 8) continue;
      CAPTURE(shape.head_dim);
      CAPTURE(length);
      const Sequence s(shape, std::min<int64_t>(length, 5), length);
      const OnDevice device(s, true);
      device.cache_rows();
      const std::vector<float> expected = s.expected(active_kernels());
      CHECK(device.exact(false) == expected);
      CHECK(device.exact(true) == expected);
    }
}

TEST_CASE("cuda: what an int8 cache cannot hold is noted, and leaves its scales finite") {
  if (!has_cuda()) return;
  for (const float wrong : {INFINITY, -INFINITY, NAN}) {
    Sequence s({2, 1, 64}, 1, 5);
    s.v[4 * s.kv_width + 3] = wrong;
    Sequence clean = s;
    const OnDevice device(s, true), split(s, true);
    device.cache_rows();
    CHECK(device.bad.host()[0] == 7);
    split.split();
    CHECK(split.bad.host()[0] == 7);
    Sequence after = clean;
    after.cache = device.cache.host();
    float scale = 1;
    std::memcpy(&scale, after.block(0, 0, true) + kernels::kv_scales(64) + 4 * 4, 4);
    CHECK(scale == 0);
  }
}

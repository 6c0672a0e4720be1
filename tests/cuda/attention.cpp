// RoPE, the cache and both attention kernels against plain loops in double.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "kernels/ref/half.h"
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
};

constexpr int64_t layers = 2, layer = 1;

/// A sequence of `length` positions whose keys and values are in the cache, and queries at the last
/// `rows` of them.
struct Sequence {
  Sequence(const Shape& s, int64_t rows_in, int64_t length_in)
      : shape(s), rows(rows_in), length(length_in), blocks((length + kv_block - 1) / kv_block) {
    std::mt19937 generator(5);
    const auto real = [&] { return static_cast<float>(generator() % 20001) / 10000.0f - 1.0f; };
    for (int64_t i = 0; i < rows * s.heads * s.head_dim; ++i) q.push_back(3 * real());
    block_halves = 2 * layers * s.kv_heads * kv_block * s.head_dim;
    cache.assign(blocks * block_halves, 0);
    for (int64_t head = 0; head < s.kv_heads; ++head)
      for (int64_t j = 0; j < length; ++j)
        for (int64_t d = 0; d < s.head_dim; ++d) {
          cache[key(head, j, d)] = kernels::ref::half_of_float(real());
          cache[value(head, j, d)] = kernels::ref::half_of_float(real());
        }
  }

  /// Where block `index` of the sequence lies: the last one first.
  int64_t place(int64_t index) const { return (blocks - 1 - index) * block_halves; }
  // lib/model/kv_pool.h: keys [head_dim][64], values [64][head_dim].
  int64_t block(int64_t head, int64_t j, bool values) const {
    return place(j / kv_block) +
           ((2 * layer + (values ? 1 : 0)) * shape.kv_heads + head) * kv_block * shape.head_dim;
  }
  int64_t key(int64_t head, int64_t j, int64_t d) const {
    return block(head, j, false) + d * kv_block + j % kv_block;
  }
  int64_t value(int64_t head, int64_t j, int64_t d) const {
    return block(head, j, true) + j % kv_block * shape.head_dim + d;
  }

  std::vector<double> expected() const {
    std::vector<double> out;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t head = 0; head < shape.heads; ++head) {
        const int64_t kv = head / (shape.heads / shape.kv_heads), end = length - rows + row + 1;
        std::vector<double> weights, result(shape.head_dim, 0.0);
        double sum = 0;
        for (int64_t j = 0; j < end; ++j) {
          double score = 0;
          for (int64_t d = 0; d < shape.head_dim; ++d)
            score += double{q[(row * shape.heads + head) * shape.head_dim + d]} *
                     kernels::ref::float_of_half(cache[key(kv, j, d)]);
          weights.push_back(std::exp(score / std::sqrt(double(shape.head_dim))));
          sum += weights.back();
        }
        for (int64_t j = 0; j < end; ++j)
          for (int64_t d = 0; d < shape.head_dim; ++d)
            result[d] += weights[j] / sum * kernels::ref::float_of_half(cache[value(kv, j, d)]);
        out.insert(out.end(), result.begin(), result.end());
      }
    return out;
  }

  kernels::cuda::Heads device_heads() const {
    return {shape.heads, shape.kv_heads, shape.head_dim, layer};
  }
  std::vector<std::byte*> table(uint16_t* device_cache) const {
    std::vector<std::byte*> pointers;
    for (int64_t i = 0; i < blocks; ++i)
      pointers.push_back(reinterpret_cast<std::byte*>(device_cache + place(i)));
    return pointers;
  }
  std::vector<StepRow> step(std::byte* const* device_table) const {
    std::vector<StepRow> step_rows;
    for (int64_t row = 0; row < rows; ++row)
      step_rows.push_back({0, static_cast<int32_t>(length - rows + row), 0,
                           static_cast<int32_t>(length - rows), device_table});
    return step_rows;
  }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(shape.head_dim)); }
  int64_t width() const { return shape.heads * shape.head_dim; }
  int64_t kv_width() const { return shape.kv_heads * shape.head_dim; }

  Shape shape;
  int64_t rows, length, blocks, block_halves;
  std::vector<float> q;
  std::vector<uint16_t> cache;
};

double worst_difference(const std::vector<float>& got, const std::vector<double>& expected) {
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(got[i] - expected[i]);
    worst = difference <= worst ? worst : difference;  // NaN counts
  }
  return worst;
}

/// The rows' queries, keys and values as the multiplication before attention leaves them, and
/// angles that turn nothing.
struct DeviceHeads {
  explicit DeviceHeads(const Sequence& s)
      : shape(s.shape),
        stride(s.width() + 2 * s.kv_width()),
        qkv(rows_of(s)),
        angles(zero_angles(s)) {}

  static std::vector<float> rows_of(const Sequence& s) {
    std::vector<float> all;
    for (int64_t row = 0; row < s.rows; ++row) {
      all.insert(all.end(), s.q.begin() + row * s.width(), s.q.begin() + (row + 1) * s.width());
      for (const bool values : {false, true})
        for (int64_t head = 0; head < s.shape.kv_heads; ++head)
          for (int64_t d = 0; d < s.shape.head_dim; ++d) {
            const int64_t position = s.length - s.rows + row;
            all.push_back(kernels::ref::float_of_half(
                s.cache[values ? s.value(head, position, d) : s.key(head, position, d)]));
          }
    }
    return all;
  }
  static std::vector<float> zero_angles(const Sequence& s) {
    std::vector<float> all;
    for (int64_t row = 0; row < s.rows; ++row)
      for (const float value : {1.0f, 0.0f}) all.insert(all.end(), s.shape.head_dim / 2, value);
    return all;
  }
  kernels::cuda::HeadRows rows() const {
    const float *q = qkv.data(), *k = q + shape.heads * shape.head_dim;
    return {q,       k,    k + shape.kv_heads * shape.head_dim, stride, angles.data(), nullptr,
            nullptr, 1e-6f};
  }

  Shape shape;
  int64_t stride;
  OnGpu<float> qkv, angles;
};

/// head_rows: other than the sequence's. unfilled: the cache does not hold the last row's key and
/// value yet.
std::vector<float> run_split(const Sequence& s, const kernels::cuda::HeadRows* head_rows = nullptr,
                             bool unfilled = false) {
  std::vector<uint16_t> filled = s.cache;
  if (unfilled)
    for (int64_t head = 0; head < s.shape.kv_heads; ++head)
      for (int64_t d = 0; d < s.shape.head_dim; ++d)
        filled[s.key(head, s.length - 1, d)] = filled[s.value(head, s.length - 1, d)] = 0x4321;
  const OnGpu<uint16_t> cache(filled);
  const OnGpu<std::byte*> table(s.table(cache.data()));
  const OnGpu<StepRow> step(s.step(table.data()));
  const DeviceHeads heads(s);
  const OnGpu<float> out(s.rows * s.width(), NAN);
  const kernels::cuda::Queue queue = default_queue();
  const int64_t splits = kernels::cuda::launched_splits(
      s.length, kernels::cuda::split_groups(queue.architecture, queue.shared_bytes));
  const std::vector<uint32_t> missing(s.rows * s.shape.kv_heads *
                                          kernels::cuda::split_results(splits) *
                                          kernels::cuda::split_part_words,
                                      kernels::cuda::missing_word);
  const OnGpu<uint32_t> partial(missing);
  for (int run = 0; run < 2; ++run)  // the second finds the partial results as it needs them
    kernels::cuda::attention_split({s.rows,
                                    nullptr,
                                    s.device_heads(),
                                    step.data(),
                                    head_rows ? *head_rows : heads.rows(),
                                    s.scale(),
                                    splits,
                                    partial.data(),
                                    out.data(),
                                    s.width(),
                                    false,
                                    {}},
                                   queue);
  CHECK(partial.host() == missing);
  if (unfilled) CHECK(cache.host() == s.cache);
  return out.host();
}

/// Of a tile, what attention_prefill() takes.
std::vector<int64_t> all_query_rows(const Sequence& s) {
  if (kernels::cuda::by_warpgroups(s.shape.head_dim, default_queue())) return {64};
  return {64, 128};
}

std::vector<float> run_prefill(const Sequence& s, int64_t query_rows,
                               const kernels::cuda::HeadRows* head_rows = nullptr) {
  const OnGpu<uint16_t> cache(s.cache);
  const OnGpu<std::byte*> table(s.table(cache.data()));
  const OnGpu<StepRow> step(s.step(table.data()));
  const DeviceHeads heads(s);
  const OnGpu<float> out(s.rows * s.width(), NAN);
  std::vector<kernels::cuda::AttentionTile> tiles;
  const int64_t group = s.shape.heads / s.shape.kv_heads;
  for (int64_t query = 0; query < s.rows * group; query += query_rows)
    tiles.push_back({0, static_cast<int32_t>(s.rows), static_cast<int32_t>(query),
                     static_cast<int32_t>(s.length - s.rows)});
  const OnGpu<kernels::cuda::AttentionTile> device_tiles(tiles);
  kernels::cuda::attention_prefill(
      {static_cast<int64_t>(tiles.size()), query_rows, device_tiles.data(), s.device_heads(),
       step.data(), head_rows ? *head_rows : heads.rows(), s.scale(), out.data(), s.width()},
      default_queue());
  return out.host();
}

/// In tiles, or row by row.
std::vector<float> run_exact(const Sequence& s, bool tiled) {
  const OnGpu<uint16_t> cache(s.cache);
  const OnGpu<std::byte*> table(s.table(cache.data()));
  const OnGpu<StepRow> step(s.step(table.data()));
  const DeviceHeads heads(s);
  const OnGpu<float> out(s.rows * s.width(), NAN);
  const kernels::cuda::Queue queue = default_queue();
  const int64_t group = s.shape.heads / s.shape.kv_heads,
                query_rows = kernels::cuda::exact_query_rows(queue.shared_bytes),
                spans = kernels::cuda::launched_spans(s.length);
  std::vector<kernels::cuda::AttentionTile> tiles;
  for (int64_t query = 0; query < s.rows * group; query += query_rows)
    tiles.push_back({0, static_cast<int32_t>(s.rows), static_cast<int32_t>(query),
                     static_cast<int32_t>(s.length - s.rows)});
  std::vector<int32_t> rows(s.rows);
  std::iota(rows.begin(), rows.end(), 0);
  const OnGpu<kernels::cuda::AttentionTile> device_tiles(tiles);
  const OnGpu<int32_t> row_list(rows);
  const OnGpu<float> partial(
      s.rows * kernels::cuda::exact_row_words(s.shape.kv_heads, s.shape.head_dim, spans), NAN);
  kernels::cuda::attention_exact(
      {tiled ? std::ssize(tiles) : s.rows, tiled ? device_tiles.data() : nullptr, row_list.data(),
       s.device_heads(), step.data(), heads.rows(), nullptr, nullptr, s.scale(), spans,
       partial.data(), out.data(), s.width()},
      queue);
  return out.host();
}

/// The CPU's kernels.
std::vector<float> run_on_cpu(const Sequence& s) {
  const kernels::Table& table = active_kernels();
  std::vector<float> out(s.rows * s.width());
  std::vector<float> partial(kernels::attention_partial(s.shape.head_dim)),
      scratch(kernels::attention_scratch(s.shape.head_dim));
  for (int64_t head = 0; head < s.shape.heads; ++head) {
    const int64_t kv = head / (s.shape.heads / s.shape.kv_heads);
    std::vector<const void*> keys, values;
    for (int64_t j = 0; j < s.length; j += kv_block) {
      keys.push_back(s.cache.data() + s.block(kv, j, false));
      values.push_back(s.cache.data() + s.block(kv, j, true));
    }
    for (int64_t row = 0; row < s.rows; ++row) {
      const int64_t length = s.length - s.rows + row + 1;
      const int64_t at = row * s.width() + head * s.shape.head_dim;
      table.attention_f16({1, s.shape.head_dim, s.q.data() + at, s.width(), keys.data(),
                           values.data(), &length, 0, length, s.scale(), partial.data(),
                           scratch.data()});
      table.attention_merge_f32({1, s.shape.head_dim, 1, partial.data(), 0, out.data() + at, 0});
    }
  }
  return out;
}

}  // namespace

TEST_CASE("cuda: exact attention has the CPU's bits") {
  if (!has_cuda()) return;
  for (const Shape& shape : {Shape{12, 2, 128}, {9, 3, 64}, {2, 2, 32}, {7, 1, 40}, {8, 1, 128}})
    for (int64_t length : {1, 15, 64, 65, 257, 511, 513, 1300}) {
      if (length > 600 && shape.heads > 8) continue;
      CAPTURE(shape.head_dim);
      CAPTURE(length);
      const Sequence s(shape, std::min<int64_t>(length, 5), length);
      const std::vector<float> expected = run_on_cpu(s);
      CHECK(run_exact(s, false) == expected);
      CHECK(run_exact(s, true) == expected);
    }
  // More spans than a warp has lanes.
  const Sequence s({2, 1, 32}, 2, 17000);
  CHECK(run_exact(s, false) == run_on_cpu(s));
}

TEST_CASE("cuda: attention split by positions") {
  if (!has_cuda()) return;
  for (const Shape& shape : {Shape{12, 2, 128}, {9, 3, 64}, {2, 2, 32}, {7, 1, 40}, {8, 1, 128}})
    for (int64_t length : {1, 15, 63, 64, 65, 127, 129, 257, 700, 4097}) {
      if (length > 1000 && shape.heads > 8) continue;
      CAPTURE(shape.head_dim);
      CAPTURE(length);
      const Sequence s(shape, std::min<int64_t>(length, 3), length);
      CHECK(worst_difference(run_split(s), s.expected()) < 2e-5);
    }
}

TEST_CASE("cuda: a row that is alone in its sequence takes its own key and value along") {
  if (!has_cuda()) return;
  for (const Shape& shape : {Shape{12, 2, 128}, {7, 1, 40}, {9, 3, 64}})
    for (int64_t length : {1, 16, 64, 129, 300, 1200}) {
      CAPTURE(shape.head_dim);
      CAPTURE(length);
      const Sequence s(shape, 1, length);
      const std::vector<float> got = run_split(s, nullptr, true);
      CHECK(worst_difference(got, s.expected()) < 2e-5);
      CHECK(got == run_split(s));
    }
}

TEST_CASE("cuda: attention of a prompt on the tensor cores") {
  if (!has_cuda()) return;
  // Queries and weights are rounded to fp16: 2^-11 of values up to 1.
  for (const Shape& shape : {Shape{12, 2, 128}, {6, 2, 64}, {4, 1, 32}, {2, 2, 128}})
    for (const auto& [rows, length] :
         {std::pair{1, 1}, {17, 17}, {64, 130}, {65, 65}, {150, 200}}) {
      CAPTURE(shape.head_dim);
      CAPTURE(length);
      const Sequence s(shape, rows, length);
      for (const int64_t query_rows : all_query_rows(s))
        CHECK(worst_difference(run_prefill(s, query_rows), s.expected()) < 2e-3);
    }
}

TEST_CASE("cuda: a row's attention on the tensor cores does not depend on the chunk it came in") {
  if (!has_cuda()) return;
  for (const Shape& shape : {Shape{6, 1, 64}, {6, 1, 128}}) {
    const Sequence whole(shape, 90, 150), part = [&] {
      Sequence s(shape, 40, 150);
      s.cache = whole.cache;
      s.q.assign(whole.q.end() - 40 * s.width(), whole.q.end());
      return s;
    }();
    const std::vector<float> all = run_prefill(whole, 64);
    for (const int64_t query_rows : all_query_rows(whole)) {
      CHECK(run_prefill(whole, query_rows) == all);
      const std::vector<float> some = run_prefill(part, query_rows);
      CHECK(std::equal(some.begin(), some.end(),
                       all.end() - static_cast<std::ptrdiff_t>(some.size())));
    }
  }
}

/// RoPE(norm(x)) of one head, in double.
std::vector<double> rotated(const float* x, int64_t head_dim, const float* norm,
                            const float* angles) {
  const int64_t half = head_dim / 2;
  double sum = 0;
  for (int64_t i = 0; i < head_dim; ++i) sum += double{x[i]} * x[i];
  const double scale = norm ? 1 / std::sqrt(sum / static_cast<double>(head_dim) + 1e-6) : 1.0;
  std::vector<double> result(head_dim);
  for (int64_t i = 0; i < half; ++i) {
    const double low = x[i] * scale * (norm ? norm[i] : 1),
                 high = x[half + i] * scale * (norm ? norm[half + i] : 1);
    result[i] = low * angles[i] - high * angles[half + i];
    result[half + i] = high * angles[i] + low * angles[half + i];
  }
  return result;
}

TEST_CASE("cuda: keys are normalized, rotated and cached, values cached; queries are rotated") {
  if (!has_cuda()) return;
  for (const Shape& shape : {Shape{6, 2, 128}, {3, 1, 64}, {2, 1, 40}})
    for (const bool with_norm : {false, true}) {
      CAPTURE(shape.head_dim);
      CAPTURE(with_norm);
      constexpr int64_t rows = 5, first = 61;  // positions 61 to 65: two blocks
      const int64_t d = shape.head_dim;
      Sequence s(shape, rows, first + rows);
      std::mt19937 generator(3);
      const auto real = [&] { return static_cast<float>(generator() % 20001) / 10000.0f - 1.0f; };
      const int64_t stride = s.width() + 2 * s.kv_width();
      std::vector<float> qkv(rows * stride), angles(rows * d), norm(d);
      for (float& x : qkv) x = real();
      for (float& x : angles) x = real();
      for (float& x : norm) x = real();
      const float* weight = with_norm ? norm.data() : nullptr;
      const OnGpu<uint16_t> cache(s.cache);
      const OnGpu<std::byte*> table(s.table(cache.data()));
      const OnGpu<StepRow> step(s.step(table.data()));
      const OnGpu<float> device_qkv(qkv), device_angles(angles), device_norm(norm);
      const float *q = device_qkv.data(), *on_device = with_norm ? device_norm.data() : nullptr;
      const kernels::cuda::HeadRows head_rows{q,
                                              q + s.width(),
                                              q + s.width() + s.kv_width(),
                                              stride,
                                              device_angles.data(),
                                              on_device,
                                              on_device,
                                              1e-6f};
      kernels::cuda::cache_rows({rows, s.device_heads(), step.data(), head_rows}, default_queue());

      const std::vector<uint16_t> got = cache.host();
      double worst = 0;
      const auto compare = [&](double value, double expected, double tolerance) {
        const double error = std::abs(value - expected) / tolerance;
        worst = error <= worst ? worst : error;
      };
      for (int64_t row = 0; row < rows; ++row) {
        const float* k = qkv.data() + row * stride + s.width();
        for (int64_t head = 0; head < shape.kv_heads; ++head) {
          const auto key = rotated(k + head * d, d, weight, angles.data() + row * d);
          for (int64_t i = 0; i < d; ++i) {
            compare(kernels::ref::float_of_half(got[s.key(head, first + row, i)]), key[i], 4e-3);
            CHECK(got[s.value(head, first + row, i)] ==
                  kernels::ref::half_of_float(k[s.kv_width() + head * d + i]));
          }
        }
      }
      CHECK(worst <= 1);

      // Both kinds of attention, over what is in the cache now.
      s.cache = got;
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t head = 0; head < shape.heads; ++head) {
          const auto query =
              rotated(qkv.data() + row * stride + head * d, d, weight, angles.data() + row * d);
          std::copy(query.begin(), query.end(), s.q.begin() + (row * shape.heads + head) * d);
        }
      CHECK(worst_difference(run_split(s, &head_rows), s.expected()) < 2e-5);
      if (kernels::cuda::has_prefill_attention(d))
        CHECK(worst_difference(run_prefill(s, 64, &head_rows), s.expected()) < 2e-3);
    }
}

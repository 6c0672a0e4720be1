// Attention, every variant, against softmax(q k^T * scale) v in double.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/ref/half.h"
#include "tests/kernels/rows.h"

using namespace octet::kernels;

namespace {

constexpr float canary = 77.25f;

struct Cache {
  /// Positions from `length` on hold NaN.
  Cache(int64_t length, int64_t head_dim, uint32_t seed) : d(head_dim) {
    std::mt19937 generator(seed);
    const int64_t blocks = (length + kv_block - 1) / kv_block;
    for (auto* data : {&keys, &values}) {
      data->assign(static_cast<size_t>(blocks * kv_block * d), NAN);
      for (int64_t i = 0; i < length * d; ++i)
        // A multiple of 2^-10 below 4: exact in fp16 too.
        (*data)[static_cast<size_t>(i)] =
            static_cast<float>(static_cast<int>(generator() % 4001) - 2000) / 1024.0f;
    }
    // As the kernels take them: a block's keys dimension-major.
    key_blocks.resize(keys.size());
    for (int64_t i = 0; i < blocks * kv_block; ++i)
      for (int64_t j = 0; j < d; ++j)
        key_blocks[(i / kv_block * d + j) * kv_block + i % kv_block] = keys[i * d + j];
    for (size_t i = 0; i < keys.size(); ++i) {
      keys_half.push_back(ref::half_of_float(key_blocks[i]));
      values_half.push_back(ref::half_of_float(values[i]));
    }
  }
  template <class T>
  std::vector<const void*> blocks(const std::vector<T>& data) const {
    std::vector<const void*> pointers;
    for (size_t i = 0; i < data.size(); i += static_cast<size_t>(kv_block * d))
      pointers.push_back(data.data() + i);
    return pointers;
  }

  int64_t d;
  std::vector<float> keys, values;  // [position][head_dim]
  std::vector<float> key_blocks;
  std::vector<uint16_t> keys_half, values_half;
};

std::vector<double> expected_row(const Cache& cache, const float* q, int64_t length, float scale) {
  std::vector<double> scores, out(static_cast<size_t>(cache.d));
  for (int64_t j = 0; j < length; ++j) {
    double sum = 0;
    for (int64_t d = 0; d < cache.d; ++d) sum += double{q[d]} * cache.keys[j * cache.d + d];
    scores.push_back(sum * scale);
  }
  const double max = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (double& score : scores) total += score = std::exp(score - max);
  for (int64_t j = 0; j < length; ++j)
    for (int64_t d = 0; d < cache.d; ++d)
      out[d] += scores[j] / total * cache.values[j * cache.d + d];
  return out;
}

struct Op {
  const char* name;
  bool half;
};
constexpr Op ops[] = {{"attention_f32", false}, {"attention_f16", true}};

/// Rows [first, first + rows) of q, each row's length in `lengths`, into rows of d + 1 floats.
/// `split`: every span of positions by a call of its own.
std::vector<float> run(const Row<AttentionFunction>& kernel, bool half, const Cache& cache,
                       const std::vector<float>& q, const std::vector<int64_t>& lengths,
                       int64_t first, int64_t rows, float scale, bool split = false) {
  const auto keys = half ? cache.blocks(cache.keys_half) : cache.blocks(cache.key_blocks);
  const auto values = half ? cache.blocks(cache.values_half) : cache.blocks(cache.values);
  std::vector<float> out(static_cast<size_t>(rows * (cache.d + 1)), canary);
  std::vector<float> scratch(static_cast<size_t>(attention_scratch(cache.d)), NAN);
  scratch.push_back(canary);
  const int64_t longest =
      *std::max_element(lengths.begin() + first, lengths.begin() + first + rows);
  const int64_t step = split ? kv_span : longest, size = rows * attention_partial(cache.d);
  const int64_t parts = (longest + step - 1) / step;
  std::vector<float> partial(static_cast<size_t>(parts * size), NAN);
  partial.push_back(canary);
  for (int64_t part = 0; part < parts; ++part)
    kernel.function({rows, cache.d, q.data() + first * cache.d, cache.d, keys.data(), values.data(),
                     lengths.data() + first, part * step, std::min(longest, (part + 1) * step),
                     scale, partial.data() + part * size, scratch.data()});
  for (const auto& merge : runnable_rows<AttentionMergeFunction>("attention_merge_f32"))
    if (merge.isa == kernel.isa)
      merge.function({rows, cache.d, parts, partial.data(), size, out.data(), cache.d + 1});
  CHECK_MESSAGE(scratch.back() == canary, kernel.name);
  CHECK_MESSAGE(partial.back() == canary, kernel.name);
  for (int64_t row = 0; row < rows; ++row)
    CHECK_MESSAGE(out[row * (cache.d + 1) + cache.d] == canary, kernel.name);
  return out;
}

std::vector<float> some_queries(int64_t count) {
  std::vector<float> q;
  std::mt19937 generator(2);
  for (int64_t i = 0; i < count; ++i)
    q.push_back(static_cast<float>(generator() % 2001) / 500.0f - 2.0f);
  return q;
}

}  // namespace

TEST_CASE("attention is softmax(q k^T scale) v over each row's length") {
  for (int64_t head_dim : {8, 20, 32, 64, 80, 128})
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
      for (const Op& op : ops)
        for (const auto& kernel : runnable_rows<AttentionFunction>(op.name)) {
          const std::string name = kernel.name + ", head_dim " + std::to_string(head_dim) +
                                   ", length " + std::to_string(longest);
          const auto all = run(kernel, op.half, cache, q, lengths, 0, rows, scale);
          for (int64_t row = 0; row < rows; ++row) {
            const auto expected =
                expected_row(cache, q.data() + row * head_dim, lengths[row], scale);
            double worst = 0;
            for (int64_t d = 0; d < head_dim; ++d) {
              const double error = std::fabs(all[row * (head_dim + 1) + d] - expected[d]);
              worst = std::isnan(error) ? INFINITY : std::max(worst, error);
              if (std::isinf(worst)) break;
            }
            CHECK_MESSAGE(worst <= 4e-6, name);
            const auto alone = run(kernel, op.half, cache, q, lengths, row, 1, scale);
            CHECK_MESSAGE(std::memcmp(alone.data(), all.data() + row * (head_dim + 1),
                                      sizeof(float) * static_cast<size_t>(head_dim)) == 0,
                          name << ": a row alone differs");
          }
        }
    }
}

TEST_CASE("attention holds where scores are far apart") {
  // One key wins by more than exp can express; later blocks raise the maximum again.
  const int64_t head_dim = 64, length = 150;
  Cache cache(length, head_dim, 3);
  std::vector<float> q(static_cast<size_t>(head_dim), 0.0f);
  q[0] = 100.0f;
  for (int64_t j = 0; j < length; ++j) {
    const int64_t at = j / kv_block * kv_block * head_dim + j % kv_block;
    cache.key_blocks[at] = static_cast<float>(j - 75);
    cache.keys_half[at] = ref::half_of_float(static_cast<float>(j - 75));
  }
  for (const Op& op : ops)
    for (const auto& kernel : runnable_rows<AttentionFunction>(op.name)) {
      const auto out = run(kernel, op.half, cache, q, {length}, 0, 1, 1.0f);
      for (int64_t d = 0; d < head_dim; ++d)
        CHECK_MESSAGE(out[d] == doctest::Approx(cache.values[(length - 1) * head_dim + d]),
                      kernel.name);
    }
}

TEST_CASE("attention split by spans, and with any other rows, is the same bits") {
  const int64_t head_dim = 80, longest = 1100;
  const float scale = 0.1f;
  const Cache cache(longest, head_dim, 4);
  const std::vector<float> q = some_queries(200 * head_dim);
  // Lengths on both sides of a span's end: some rows have nothing in the spans of others.
  std::vector<int64_t> lengths;
  for (int64_t row = 0; row < 200; ++row) lengths.push_back(row * 389 % longest + 1);
  for (int64_t row = 50; row < 90; ++row) lengths[static_cast<size_t>(row)] = 470 + row;
  for (const Op& op : ops)
    for (const auto& kernel : runnable_rows<AttentionFunction>(op.name)) {
      const auto all = run(kernel, op.half, cache, q, lengths, 0, 200, scale);
      for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 13, 100, 200}) {
        const auto some = run(kernel, op.half, cache, q, lengths, 200 - rows, rows, scale, true);
        const size_t size = some.size();
        CHECK_MESSAGE(
            std::memcmp(some.data(), all.data() + all.size() - size, size * sizeof(float)) == 0,
            kernel.name << ", " << rows << " rows");
      }
    }
}

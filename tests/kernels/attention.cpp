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

enum class Type { f32, f16, s8 };
struct Op {
  const char* name;
  Type type;
};
constexpr Op ops[] = {
    {"attention_f32", Type::f32}, {"attention_f16", Type::f16}, {"attention_s8", Type::s8}};

/// Rows of d values as int8 with a scale each, by the formula of kernels/types.h.
struct Quantized {
  Quantized(const float* x, int64_t rows, int64_t d) {
    for (const float* row = x; row < x + rows * d; row += d) {
      float absmax = 0;
      for (int64_t i = 0; i < d; ++i) absmax = std::max(absmax, std::fabs(row[i]));
      scales.push_back(absmax / 127.0f);
      for (int64_t i = 0; i < d; ++i)
        q.push_back(static_cast<int8_t>(std::nearbyint(row[i] * (127.0f / absmax))));
    }
    for (size_t i = 0; i < q.size(); ++i)
      values.push_back(double{scales[i / static_cast<size_t>(d)]} * q[i]);
  }
  std::vector<int8_t> q;
  std::vector<float> scales;
  std::vector<double> values;  // what q and scales stand for
};

/// Blocks of keys or values as the kernels of one type take them.
class Blocks {
 public:
  Blocks(int64_t count, int64_t bytes) : data_(static_cast<size_t>(count * bytes / 64)) {
    for (int64_t i = 0; i < count; ++i) pointers_.push_back(data_.data() + i * bytes / 64);
  }
  /// The block that holds this position.
  template <class T>
  T* of(int64_t position) {
    return reinterpret_cast<T*>(pointers_[static_cast<size_t>(position / kv_block)]);
  }
  const void* const* pointers() const {
    return reinterpret_cast<const void* const*>(pointers_.data());
  }

 private:
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  std::vector<Line> data_;
  std::vector<Line*> pointers_;
};

struct Cache {
  Cache(int64_t positions, int64_t head_dim, uint32_t seed) : d(head_dim), length(positions) {
    std::mt19937 generator(seed);
    for (auto* data : {&keys, &values})
      for (int64_t i = 0; i < length * d; ++i)
        // A multiple of 2^-10 below 4: exact in fp16 too.
        data->push_back(static_cast<float>(static_cast<int>(generator() % 4001) - 2000) / 1024.0f);
  }
  int64_t num_blocks() const { return (length + kv_block - 1) / kv_block; }

  /// What no position fills is NaN.
  template <class T, class Convert>
  Blocks floats(const std::vector<float>& data, bool is_keys, Convert convert) const {
    Blocks blocks(num_blocks(), kv_block * d * int64_t{sizeof(T)});
    for (int64_t j = 0; j < num_blocks() * kv_block; ++j)
      for (int64_t i = 0; i < d; ++i) {
        const int64_t slot = j % kv_block;
        blocks.of<T>(j)[is_keys ? i * kv_block + slot : slot * d + i] =
            convert(j < length ? data[static_cast<size_t>(j * d + i)] : NAN);
      }
    return blocks;
  }
  /// What no position or dimension fills has some value, with a large scale.
  Blocks int8(const std::vector<float>& data, bool is_keys, uint8_t flip) const {
    Blocks blocks(num_blocks(), kv_s8_bytes(d));
    const Quantized rows(data.data(), length, d);
    const int64_t p = padded_n(d);
    for (int64_t j = 0; j < num_blocks() * kv_block; ++j) {
      const int64_t slot = j % kv_block;
      for (int64_t i = 0; i < p; ++i) {
        const bool filled = j < length && i < d;
        const int64_t at =
            is_keys ? (i / 4 * kv_block + slot) * 4 + i % 4 : (slot / 4 * p + i) * 4 + slot % 4;
        blocks.of<int8_t>(j)[at] =
            static_cast<int8_t>((filled ? rows.q[static_cast<size_t>(j * d + i)] : 85) ^ flip);
      }
      reinterpret_cast<float*>(blocks.of<int8_t>(j) + kv_block * p)[slot] =
          j < length ? rows.scales[static_cast<size_t>(j)] : 1000.0f;
    }
    return blocks;
  }
  Blocks packed(Type type, Isa isa, bool is_keys) const {
    const std::vector<float>& data = is_keys ? keys : values;
    if (type == Type::f32) return floats<float>(data, is_keys, [](float x) { return x; });
    if (type == Type::f16) return floats<uint16_t>(data, is_keys, ref::half_of_float);
    return int8(data, is_keys, is_keys ? activation_xor(isa) : 0);
  }

  int64_t d, length;
  std::vector<float> keys, values;  // [position][head_dim]
};

/// A row's output in double, and how far its kernel's may be from it.
struct Expected {
  std::vector<double> out, tolerance;
};

std::vector<double> weights(const std::vector<double>& q, const std::vector<double>& keys,
                            int64_t length, float scale) {
  std::vector<double> weights;
  for (int64_t j = 0; j < length; ++j) {
    double sum = 0;
    for (size_t i = 0; i < q.size(); ++i) sum += q[i] * keys[static_cast<size_t>(j) * q.size() + i];
    weights.push_back(sum * scale);
  }
  const double max = *std::max_element(weights.begin(), weights.end());
  double total = 0;
  for (double& weight : weights) total += weight = std::exp(weight - max);
  for (double& weight : weights) weight /= total;
  return weights;
}

/// Over exactly what the kernel sees: with int8, the dequantized rows.
Expected expected_row(const Cache& cache, Type type, const float* q, int64_t length, float scale) {
  const auto d = static_cast<size_t>(cache.d);
  const bool int8 = type == Type::s8;
  const Quantized query(q, 1, cache.d), keys(cache.keys.data(), length, cache.d),
      values(cache.values.data(), length, cache.d);
  const auto doubles = [](const float* x, size_t n) { return std::vector<double>(x, x + n); };
  const std::vector<double> w =
      int8 ? weights(query.values, keys.values, length, scale)
           : weights(doubles(q, d), doubles(cache.keys.data(), cache.keys.size()), length, scale);
  const std::vector<double> v =
      int8 ? values.values : doubles(cache.values.data(), cache.values.size());
  Expected expected{std::vector<double>(d), std::vector<double>(d, 4e-6)};
  for (size_t j = 0; j < w.size(); ++j)
    for (size_t i = 0; i < d; ++i) expected.out[i] += w[j] * v[j * d + i];
  if (!int8) return expected;
  // Weight times scale is rounded to a multiple of a 255th of the block's largest.
  for (size_t begin = 0; begin < w.size(); begin += kv_block) {
    const size_t end = std::min(begin + kv_block, w.size());
    double largest = 0;
    for (size_t j = begin; j < end; ++j) largest = std::max(largest, w[j] * values.scales[j]);
    for (size_t j = begin; j < end; ++j)
      for (size_t i = 0; i < d; ++i)
        expected.tolerance[i] += largest / 255 / 2 * std::abs(values.q[j * d + i]);
  }
  return expected;
}

/// Rows [first, first + rows) of q, each row's length in `lengths`, into rows of d + 1 floats.
/// `split`: every span of positions by a call of its own.
std::vector<float> run(const Row<AttentionFunction>& kernel, Type type, const Cache& cache,
                       const std::vector<float>& q, const std::vector<int64_t>& lengths,
                       int64_t first, int64_t rows, float scale, bool split = false) {
  const Blocks keys = cache.packed(type, kernel.isa, true);
  const Blocks values = cache.packed(type, kernel.isa, false);
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
    kernel.function({rows, cache.d, q.data() + first * cache.d, cache.d, keys.pointers(),
                     values.pointers(), lengths.data() + first, part * step,
                     std::min(longest, (part + 1) * step), scale, partial.data() + part * size,
                     scratch.data()});
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

/// The largest error in units of what is allowed; infinity for NaN.
double worst_error(const float* got, const Expected& expected) {
  double worst = 0;
  for (size_t i = 0; i < expected.out.size(); ++i) {
    const double error = std::fabs(got[i] - expected.out[i]) / expected.tolerance[i];
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  return worst;
}

}  // namespace

TEST_CASE("attention is softmax(q k^T scale) v over each row's length") {
  for (int64_t head_dim : {2, 8, 20, 32, 64, 80, 128})
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
      for (const Op& op : ops) {
        std::vector<Expected> expected;
        for (int64_t row = 0; row < rows; ++row)
          expected.push_back(
              expected_row(cache, op.type, q.data() + row * head_dim, lengths[row], scale));
        for (const auto& kernel : runnable_rows<AttentionFunction>(op.name)) {
          const std::string name = kernel.name + ", head_dim " + std::to_string(head_dim) +
                                   ", length " + std::to_string(longest);
          const auto all = run(kernel, op.type, cache, q, lengths, 0, rows, scale);
          for (int64_t row = 0; row < rows; ++row) {
            CHECK_MESSAGE(worst_error(all.data() + row * (head_dim + 1), expected[row]) <= 1, name);
            const auto alone = run(kernel, op.type, cache, q, lengths, row, 1, scale);
            CHECK_MESSAGE(std::memcmp(alone.data(), all.data() + row * (head_dim + 1),
                                      sizeof(float) * static_cast<size_t>(head_dim)) == 0,
                          name << ": a row alone differs");
          }
        }
      }
    }
}

TEST_CASE("attention_s8 rounds weights evenly: the mean error is that of independent roundings") {
  const int64_t head_dim = 128, length = 1000, rows = 24;
  const Cache cache(length, head_dim, 5);
  const std::vector<float> q = some_queries(rows * head_dim);
  const std::vector<int64_t> lengths(rows, length);
  const Quantized values(cache.values.data(), length, head_dim);
  for (const auto& kernel : runnable_rows<AttentionFunction>("attention_s8")) {
    const auto got = run(kernel, Type::s8, cache, q, lengths, 0, rows, 0.02f);
    double squares = 0, variance = 0, sum = 0;
    for (int64_t row = 0; row < rows; ++row) {
      const float* query = q.data() + row * head_dim;
      const Expected expected = expected_row(cache, Type::s8, query, length, 0.02f);
      for (int64_t i = 0; i < head_dim; ++i) {
        const double error = got[row * (head_dim + 1) + i] - expected.out[i];
        squares += error * error;
        sum += error;
        // tolerance is the sum over positions of half a step times |v|. A rounding's variance is
        // step^2 / 12, so with |v|'s mean square 4/3 of its squared mean, and `length` of them:
        const double half = expected.tolerance[i] / length;
        variance += length * half * half / 3 * 4 / 3;
      }
    }
    CAPTURE(kernel.name);
    CHECK(squares < 1.5 * variance);
    CHECK(squares > 0.5 * variance);  // it is the roundings that are seen
    CHECK(std::fabs(sum) < 6 * std::sqrt(variance));
  }
}

TEST_CASE("attention holds where scores are far apart") {
  // One key wins by more than exp can express; later blocks raise the maximum again.
  const int64_t head_dim = 64, length = 150;
  Cache cache(length, head_dim, 3);
  std::vector<float> q(static_cast<size_t>(head_dim), 0.0f);
  q[0] = 100.0f;
  for (int64_t j = 0; j < length; ++j) cache.keys[j * head_dim] = static_cast<float>(j - 75);
  for (const Op& op : ops)
    for (const auto& kernel : runnable_rows<AttentionFunction>(op.name)) {
      const auto out = run(kernel, op.type, cache, q, {length}, 0, 1, 1.0f);
      const float* last = cache.values.data() + (length - 1) * head_dim;
      const Quantized quantized(last, 1, head_dim);
      for (int64_t d = 0; d < head_dim; ++d)
        CHECK_MESSAGE(
            out[d] == doctest::Approx(op.type == Type::s8 ? quantized.values[d] : last[d]),
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
      const auto all = run(kernel, op.type, cache, q, lengths, 0, 200, scale);
      for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 13, 100, 200}) {
        const auto some = run(kernel, op.type, cache, q, lengths, 200 - rows, rows, scale, true);
        const size_t size = some.size();
        CHECK_MESSAGE(
            std::memcmp(some.data(), all.data() + all.size() - size, size * sizeof(float)) == 0,
            kernel.name << ", " << rows << " rows");
      }
    }
}

TEST_CASE("a query that is not finite makes a result that is not finite, of its row alone") {
  const int64_t head_dim = 32, length = 600;
  const Cache cache(length, head_dim, 6);
  const std::vector<int64_t> lengths(2, length);
  for (float bad : {INFINITY, -INFINITY, NAN})
    for (const Op& op : ops)
      for (const auto& kernel : runnable_rows<AttentionFunction>(op.name)) {
        std::vector<float> q = some_queries(2 * head_dim);
        q[5] = bad;
        const auto out = run(kernel, op.type, cache, q, lengths, 0, 2, 0.1f);
        CHECK_MESSAGE(std::isnan(out[0]), kernel.name);
        for (int64_t i = 0; i < head_dim; ++i)
          CHECK_MESSAGE(std::isfinite(out[head_dim + 1 + i]), kernel.name);
      }
}

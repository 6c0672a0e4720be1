#pragma once
// Caches as the attention kernels take them, and calls of these.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/ref/half.h"
#include "tests/kernels/rows.h"

namespace octet::kernels {

inline constexpr float canary = 77.25f;

enum class Type { f32, f16, s8, s16 };
constexpr bool has_integers(Type type) {
  return type == Type::s8 || type == Type::s16;
}
struct Op {
  const char* name;
  Type type;
};
inline constexpr Op ops[] = {{"attention_f32", Type::f32},
                             {"attention_f16", Type::f16},
                             {"attention_s8", Type::s8},
                             {"attention_s16", Type::s16}};

/// Rows of d values as integers with a scale each, by the formula of kernels/types.h.
struct Quantized {
  Quantized(const float* x, int64_t rows, int64_t d, Type type) {
    const float levels = type == Type::s8 ? 127.0f : 4095.0f;
    for (const float* row = x; row < x + rows * d; row += d) {
      float absmax = 0;
      for (int64_t i = 0; i < d; ++i) absmax = std::max(absmax, std::fabs(row[i]));
      scales.push_back(absmax / levels);
      for (int64_t i = 0; i < d; ++i)
        q.push_back(static_cast<int16_t>(std::nearbyint(row[i] * (levels / absmax))));
    }
    for (size_t i = 0; i < q.size(); ++i)
      values.push_back(double{scales[i / static_cast<size_t>(d)]} * q[i]);
  }
  std::vector<int16_t> q;
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
  template <class T>
  Blocks integers(const std::vector<float>& data, bool is_keys, Type type, uint8_t flip) const {
    constexpr int64_t g = 4 / sizeof(T);
    Blocks blocks(num_blocks(), type == Type::s8 ? kv_s8_bytes(d) : kv_s16_bytes(d));
    const Quantized rows(data.data(), length, d, type);
    const int64_t p = padded_n(d);
    for (int64_t j = 0; j < num_blocks() * kv_block; ++j) {
      const int64_t slot = j % kv_block;
      for (int64_t i = 0; i < p; ++i) {
        const bool filled = j < length && i < d;
        const int64_t at =
            is_keys ? (i / g * kv_block + slot) * g + i % g : (slot / g * p + i) * g + slot % g;
        blocks.of<T>(j)[at] =
            static_cast<T>((filled ? rows.q[static_cast<size_t>(j * d + i)] : 85) ^ flip);
      }
      reinterpret_cast<float*>(blocks.of<T>(j) + kv_block * p)[slot] =
          j < length ? rows.scales[static_cast<size_t>(j)] : 1000.0f;
    }
    return blocks;
  }
  Blocks packed(Type type, Isa isa, bool is_keys) const {
    const std::vector<float>& data = is_keys ? keys : values;
    if (type == Type::f32) return floats<float>(data, is_keys, [](float x) { return x; });
    if (type == Type::f16) return floats<uint16_t>(data, is_keys, ref::half_of_float);
    if (type == Type::s16) return integers<int16_t>(data, is_keys, type, 0);
    return integers<int8_t>(data, is_keys, type, is_keys ? activation_xor(isa) : 0);
  }

  int64_t d, length;
  std::vector<float> keys, values;  // [position][head_dim]
};

/// Rows [first, first + rows) of q, each row's length in `lengths`, into rows of d + 1 floats.
/// `split`: every span of positions by a call of its own.
inline std::vector<float> run(const Row<AttentionFunction>& kernel, Type type, const Cache& cache,
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
    kernel.function({rows, cache.d, q.data() + first * cache.d, cache.d,
                     keys.pointers() + part * step / kv_block,
                     values.pointers() + part * step / kv_block, lengths.data() + first,
                     part * step, std::min(longest, (part + 1) * step), scale,
                     partial.data() + part * size, scratch.data()});
  make_table(detect_cpu() & up_to(kernel.isa))
      .attention_merge_f32({rows, cache.d, parts, partial.data(), size, out.data(), cache.d + 1});
  CHECK_MESSAGE(scratch.back() == canary, kernel.name);
  CHECK_MESSAGE(partial.back() == canary, kernel.name);
  for (int64_t row = 0; row < rows; ++row)
    CHECK_MESSAGE(out[row * (cache.d + 1) + cache.d] == canary, kernel.name);
  return out;
}

inline std::vector<float> some_queries(int64_t count) {
  std::vector<float> q;
  std::mt19937 generator(2);
  for (int64_t i = 0; i < count; ++i)
    q.push_back(static_cast<float>(generator() % 2001) / 500.0f - 2.0f);
  return q;
}

}  // namespace octet::kernels

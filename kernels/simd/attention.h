#pragma once
// Causal attention (kernels/types.h) for any vector width. Scores are vectors of neighbouring
// positions, outputs vectors of neighbouring dimensions: no sum across a vector but the softmax's.
// Six rows go together, so that a vector of keys or values, converted as it is loaded, serves six
// multiply-adds. A row's chain of operations is the same with however many others it goes.
// What depends on the cache's type is in attention_float.h and attention_integer.h.
#include <cmath>

#include "kernels/simd/exp.h"
#include "kernels/types.h"

namespace octet::kernels::simd {
namespace {

/// Sums of `rows` x `width` vectors of products, to stay in registers.
template <class Arch, class Product, int rows, int width>
struct Tile {
  using Cached = typename Product::Cached;
  static constexpr int64_t values = Vector<Arch>::size * Product::depth;  // of a vector
  static constexpr int64_t bytes = width * values * int64_t{sizeof(Cached)};
  typename Product::Sum sum[rows][width];

  Tile() {
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
      for (int i = 0; i < width; ++i) sum[r][i] = Product::zero();
  }
  /// Brings `width` vectors of a later block nearer: blocks are few pages long and far apart, so
  /// the processor does not see them coming.
  static void prefetch(const Cached* later) {
#pragma GCC unroll 4
    for (int64_t byte = 0; byte < bytes; byte += 64)
      __builtin_prefetch(reinterpret_cast<const char*>(later) + byte, 0, 2);
  }
  /// sum[r] += factors[r * stride] * the `width` vectors at `from`, of which the last has `count`
  /// values.
  void add(const typename Product::Factor* factors, int64_t stride, const Cached* from,
           int64_t count) {
    typename Product::Operand vector[width];
#pragma GCC unroll 4
    for (int i = 0; i < width; ++i)
      vector[i] = Product::load(from + i * values, width > 1 ? Vector<Arch>::size : count);
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r) {
      const typename Product::Operand factor = Product::broadcast(factors + r * stride);
#pragma GCC unroll 4
      for (int i = 0; i < width; ++i) Product::add(sum[r][i], vector[i], factor);
    }
  }
};

/// Blocks that are read later, each of a multiple of 256 bytes. They are asked for little by little
/// beside what is computed: memory never idles, and no more is asked for at once than it brings
/// meanwhile, which would hold up loads from the caches (docs/performance/zen4.md).
class Ahead {
 public:
  explicit Ahead(int64_t block_bytes) : block_bytes_(block_bytes) {}

  void add(const void* const* blocks, int64_t count) {
    if (count <= 0) return;
    lists_[lists_used_++] = {blocks, blocks + count};
    left_ += count * block_bytes_ / ask_bytes;
  }

  /// Step i of a loop that reads `bytes` a step: asks for as much, or for `eighths` of it.
  template <int64_t bytes, int eighths = 8>
  [[gnu::always_inline]] void keep_pace(int64_t i) {
    constexpr int64_t steps = bytes < ask_bytes ? ask_bytes / bytes : 1;
    if ((i + 1) % steps == 0 && i / steps % 8 < eighths) ask();
  }

 private:
  static constexpr int64_t ask_bytes = 256;
  struct List {
    const void* const* next;
    const void* const* end;
  };

  [[gnu::always_inline]] void ask() {
    if (left_ == 0) return;
    if (at_ == end_) next_block();
#pragma GCC unroll 4
    for (int64_t byte = 0; byte < ask_bytes; byte += 64) __builtin_prefetch(at_ + byte, 0, 2);
    at_ += ask_bytes;
    --left_;
  }
  /// Around a call clang 14 keeps the loops' sums on the stack; without one GCC 12's attention over
  /// fp16 takes 2.6 % longer (16 tokens, AVX-512).
#ifdef __clang__
  [[gnu::always_inline]]
#else
  [[gnu::noinline]]
#endif
  void
  next_block() {
    if (lists_[list_].next == lists_[list_].end) ++list_;
    at_ = static_cast<const char*>(*lists_[list_].next++);
    end_ = at_ + block_bytes_;
  }

  int64_t block_bytes_, left_ = 0;  // left_: to be asked for
  const char* at_ = nullptr;
  const char* end_ = nullptr;
  List lists_[2];
  int list_ = 0, lists_used_ = 0;
};

/// The running maximum of a row and its sum; and what a merge multiplies the two sides by.
struct Softmax {
  float max;
  float sum;
};
struct Factors {
  float old;
  float added;
};

/// Merges `added` into `row`. Not inlined: without a call in between GCC keeps the exponential's
/// constants in registers over the loops of products, whose sums then spill.
[[gnu::noinline]] inline Factors merge(Softmax& row, const Softmax& added) {
  const float max = added.max > row.max ? added.max : row.max;
  // An empty side's maximum is -inf; two of them would differ by NaN. Most merges are of a span
  // into nothing, where computing e^-inf, which is 0, took 15 % of a short attention_s8.
  const auto factor = [max](float of_side) {
    if (of_side == max) return 1.0f;
    return of_side == -INFINITY ? 0.0f : exponential<Scalar>(of_side - max);
  };
  const Factors factors{factor(row.max), factor(added.max)};
  row = {max, row.sum * factors.old + added.sum * factors.added};
  return factors;
}

/// One vector of outputs, merged.
template <class Arch>
typename Vector<Arch>::type merged(typename Vector<Arch>::type old,
                                   typename Vector<Arch>::type added, const Factors& factors) {
  using Batch = typename Vector<Arch>::type;
  return Vector<Arch>::fma(added, Batch(factors.added), old * Batch(factors.old));
}

/// scores[j] = exp(scores[j] - max) for j < count, then 0 up to `padded`, a multiple of 64.
template <class Arch>
Softmax exponentials(float* scores, int64_t count, int64_t padded, Ahead& ahead) {
  using V = Vector<Arch>;
  using Batch = typename V::type;
  for (int64_t j = count; j < padded; ++j) scores[j] = count > 0 ? -INFINITY : 0.0f;
  if (count == 0) return {-INFINITY, 0};
  Batch largest(-INFINITY);
  for (int64_t j = 0; j < padded; j += V::size) largest = xsimd::max(largest, V::load(scores + j));
  const float max = V::max(largest);
  LaneSums<Arch> sums;
  for (int64_t j = 0; j < padded; j += sums.lanes) {
    ahead.keep_pace<128>(j / sums.lanes);
#pragma GCC unroll 4
    for (int i = 0; i < sums.vectors; ++i) {
      float* const at = scores + j + i * V::size;
      const Batch weight = exponential<V>(V::load(at) - Batch(max));
      sums.part[i] = sums.part[i] + weight;
      V::store(at, weight);
    }
  }
  return {max, sums.total()};
}

/// Merges what a span gives to `width` vectors of the rows' outputs, of which the last has `count`
/// values, into those at `out`. Always inline: where clang 14 calls it, sums have an address, and
/// are stored after each position.
template <class Arch, int rows, int width>
[[gnu::always_inline]] inline void merge_outputs(
    const typename Vector<Arch>::type (&added)[rows][width], const Factors* factors, float* out,
    int64_t head_dim, int64_t count) {
#pragma GCC unroll 6
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int i = 0; i < width; ++i) {
      float* to = out + r * attention_partial(head_dim) + i * Vector<Arch>::size;
      store<Arch>(to, merged<Arch>(load<Arch>(to, count), added[r][i], factors[r]), count);
    }
}

/// Calls f.operator()<vectors>(d, count) for tiles of `width` vectors, then of one, that cover n
/// outputs; `count` values of the last vector are there.
template <class Arch, int width, class F>
void each_tile(int64_t n, F f) {
  constexpr int64_t size = Vector<Arch>::size;
  int64_t d = 0;
  for (; d + width * size <= n; d += width * size) f.template operator()<width>(d, size);
  each_vector<Arch>(n - d,
                    [&](int64_t i, int64_t count) { f.template operator()<1>(d + i, count); });
}

/// The blocks of a span of positions, as far as a tile's longest row goes.
struct Span {
  const void* const* keys;
  const void* const* values;
  int64_t positions;

  int64_t blocks() const { return (positions + kv_block - 1) / kv_block; }
  int64_t filled(int64_t block) const {
    const int64_t left = positions - block * kv_block;
    return left < kv_block ? left : kv_block;
  }
  /// What is read after a block of keys, or of values.
  const void* after_keys(int64_t block) const {
    return block + 1 < blocks() ? keys[block + 1] : values[0];
  }
  const void* after_values(int64_t block) const {
    return values[block + 1 < blocks() ? block + 1 : 0];
  }
};

/// The keys that are wanted after the span that ends at `end`.
inline void add_next_keys(const Attention& a, int64_t end, Ahead& ahead) {
  const int64_t left = (a.end - end + kv_block - 1) / kv_block;
  constexpr int64_t most = kv_span / kv_block;
  if (left > 0)
    ahead.add(a.k_blocks + (end - a.first) / kv_block, left < most ? left : most);
  else
    ahead.add(a.next_keys, a.next_blocks);
}

/// Rows [row, row + rows) over the span that begins at `first`. Cache has, for its type of keys and
/// values,
///   block_bytes(head_dim)            of a block of keys, or of values
///   score<rows>(a, row, span, ahead)
///     a.scratch[r * kv_span + j] = s_j of each row (any value where the span is not filled)
///   add_values<rows>(a, row, span, factors, ahead)
///     with w_j there instead: merges sum w_j v_j into the partial results
template <class Arch, class Cache, int rows>
void attend_tile(const Attention& a, int64_t row, int64_t first) {
  const int64_t end = first + kv_span < a.end ? first + kv_span : a.end;
  int64_t count[rows], longest = 0;
  for (int r = 0; r < rows; ++r) {
    const int64_t row_end = a.length[row + r] < end ? a.length[row + r] : end;
    count[r] = row_end > first ? row_end - first : 0;
    longest = count[r] > longest ? count[r] : longest;
  }
  if (longest == 0) return;
  const int64_t block = (first - a.first) / kv_block;
  const Span span{a.k_blocks + block, a.v_blocks + block, longest};
  Ahead ahead(Cache::block_bytes(a.head_dim));
  if (row == 0) ahead.add(span.values, span.blocks());
  if (row + rows == a.rows) add_next_keys(a, end, ahead);
  Cache::template score<rows>(a, row, span, ahead);
  Factors factors[rows];
  for (int r = 0; r < rows; ++r) {
    float* state = a.partial + (row + r) * attention_partial(a.head_dim) + a.head_dim;
    Softmax softmax{state[0], state[1]};
    const Softmax added =
        exponentials<Arch>(a.scratch + r * kv_span, count[r], span.blocks() * kv_block, ahead);
    factors[r] = merge(softmax, added);
    state[0] = softmax.max;
    state[1] = softmax.sum;
  }
  Cache::template add_values<rows>(a, row, span, factors, ahead);
}

/// attend_tile for `rows` at run time, at most `most`. The first rows over a span ask for its
/// values, the last ones for the next keys.
template <class Arch, class Cache, int most = int{attention_rows}>
void attend_rows(const Attention& a, int64_t row, int64_t rows, int64_t first) {
  if constexpr (most > 1)
    if (rows < most) return attend_rows<Arch, Cache, most - 1>(a, row, rows, first);
  attend_tile<Arch, Cache, most>(a, row, first);
}

/// Begins the partial results, then calls attend(first) for each span that a row sees.
template <class Attend>
void each_span(const Attention& a, Attend attend) {
  int64_t longest = 0;
  for (int64_t row = 0; row < a.rows; ++row) {
    float* partial = a.partial + row * attention_partial(a.head_dim);
    for (int64_t d = 0; d < a.head_dim; ++d) partial[d] = 0;
    partial[a.head_dim] = -INFINITY;
    partial[a.head_dim + 1] = 0;
    longest = a.length[row] > longest ? a.length[row] : longest;
  }
  for (int64_t first = a.first; first < a.end && first < longest; first += kv_span) attend(first);
}

/// All rows from `row` on over a span, while it is in the cache.
template <class Arch, class Cache>
void attend_span(const Attention& a, int64_t row, int64_t first) {
  for (; row < a.rows; row += attention_rows) attend_rows<Arch, Cache>(a, row, a.rows - row, first);
}

template <class Arch, class Cache>
void attention(const Attention& a) {
  each_span(a, [&](int64_t first) { attend_span<Arch, Cache>(a, 0, first); });
}

template <class Arch>
void merge_partials(const AttentionMerge& m) {
  using Batch = typename Vector<Arch>::type;
  for (int64_t row = 0; row < m.rows; ++row) {
    float* out = m.out + row * m.out_stride;
    for (int64_t d = 0; d < m.head_dim; ++d) out[d] = 0;
    Softmax softmax{-INFINITY, 0};
    for (int64_t part = 0; part < m.parts; ++part) {
      const float* from = m.partial + part * m.part_stride + row * attention_partial(m.head_dim);
      const Factors factors = merge(softmax, {from[m.head_dim], from[m.head_dim + 1]});
      each_vector<Arch>(m.head_dim, [&](int64_t d, int64_t n) {
        store<Arch>(out + d, merged<Arch>(load<Arch>(out + d, n), load<Arch>(from + d, n), factors),
                    n);
      });
    }
    const Batch inverse(1.0f / softmax.sum);
    each_vector<Arch>(m.head_dim, [&](int64_t d, int64_t n) {
      store<Arch>(out + d, load<Arch>(out + d, n) * inverse, n);
    });
  }
}

}  // namespace
}  // namespace octet::kernels::simd

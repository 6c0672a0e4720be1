// Causal attention over plain tensors of keys and values.
#include <octet/ops.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "lib/core/aligned.h"
#include "lib/core/cpu.h"
#include "lib/core/error.h"
#include "lib/ops/operands.h"

namespace octet::ops {
namespace {

using kernels::kv_block;

/// Query rows of a kernel call: so many share a block of keys while it is in the cache.
constexpr int64_t max_rows = 64;

void check_attention(TensorView<const float, 3> q, TensorView<const float, 3> k,
                     TensorView<const float, 3> v, TensorView<float, 3> y) {
  constexpr const char* op = "attention";
  const Operand queries("q", q), keys("k", k), values("v", v), out("y", y);
  check_same_shape(op, queries, out);
  check_same_shape(op, keys, values);
  check_same(op, queries, 2, keys, 2);
  const int64_t heads = q.shape()[1], kv_heads = k.shape()[1];
  require(q.shape()[0] <= k.shape()[0], ErrorCode::InvalidArgument, op, ": ", queries.text(),
          " has ", q.shape()[0], " tokens, ", keys.text(), " only ", k.shape()[0], " positions");
  require(kv_heads > 0 ? heads % kv_heads == 0 : heads == 0, ErrorCode::InvalidArgument, op, ": ",
          queries.text(), " has ", heads, " heads, ", keys.text(), " has ", kv_heads,
          ", of which the former must be a multiple");
  check_contiguous_rows(op, {queries, keys, values, out});
  check_apart(op, out, {queries, keys, values});
}

/// One head's keys in blocks of 64 positions, as the kernels take them: [head_dim][64].
class KeyBlocks {
 public:
  explicit KeyBlocks(TensorView<const float, 3> keys)
      : keys_(keys), block_(kv_block * keys.shape()[2]) {
    const int64_t count = (keys.shape()[0] + kv_block - 1) / kv_block;
    copy_ = AlignedBuffer<float>(static_cast<size_t>(count * block_));
    for (int64_t i = 0; i < count; ++i) pointers_.push_back(copy_.data() + i * block_);
  }

  const void* const* of_head(int64_t head) {
    for (int64_t i = 0; i < keys_.shape()[0]; ++i)
      for (int64_t d = 0; d < keys_.shape()[2]; ++d)
        copy_.data()[i / kv_block * block_ + d * kv_block + i % kv_block] = keys_(i, head, d);
    return pointers_.data();
  }

 private:
  TensorView<const float, 3> keys_;
  int64_t block_;
  AlignedBuffer<float> copy_;
  std::vector<const void*> pointers_;
};

/// One head's values in blocks of 64 positions: [64][head_dim].
class ValueBlocks {
 public:
  explicit ValueBlocks(TensorView<const float, 3> values) : values_(values) {
    const int64_t positions = values.shape()[0], d = values.shape()[2];
    // Rows that lie one after another are read where they are.
    in_place_ = values.strides()[0] == d;
    if (!in_place_) copy_ = AlignedBuffer<float>(static_cast<size_t>(positions * d));
    pointers_.resize(static_cast<size_t>((positions + kv_block - 1) / kv_block));
  }

  const void* const* of_head(int64_t head) {
    const int64_t positions = values_.shape()[0], d = values_.shape()[2];
    if (!in_place_)
      for (int64_t i = 0; i < positions; ++i)
        std::copy_n(&values_(i, head, 0), d, copy_.data() + i * d);
    const float* rows = in_place_ ? &values_(0, head, 0) : copy_.data();
    for (size_t block = 0; block < pointers_.size(); ++block)
      pointers_[block] = rows + static_cast<int64_t>(block) * kv_block * d;
    return pointers_.data();
  }

 private:
  TensorView<const float, 3> values_;
  bool in_place_;
  AlignedBuffer<float> copy_;
  std::vector<const void*> pointers_;
};

}  // namespace

void attention(TensorView<const float, 3> q, TensorView<const float, 3> k,
               TensorView<const float, 3> v, float scale, TensorView<float, 3> y) {
  check_attention(q, k, v, y);
  if (y.size() == 0) return;
  const auto [tokens, heads, d] = q.shape();
  const int64_t positions = k.shape()[0], kv_heads = k.shape()[1], group = heads / kv_heads;
  // The rows of a kernel call are tokens of one head; a single token has its heads for rows.
  const bool single = tokens == 1;
  const int64_t rows = single ? group : tokens, heads_per_kv = single ? 1 : group;
  const int64_t q_stride = q.strides()[single ? 1 : 0], y_stride = y.strides()[single ? 1 : 0];
  std::vector<int64_t> lengths(static_cast<size_t>(rows), positions);
  if (!single) std::iota(lengths.begin(), lengths.end(), positions - tokens + 1);
  AlignedBuffer<float> scratch(static_cast<size_t>(kernels::attention_scratch(d)));
  AlignedBuffer<float> partial(static_cast<size_t>(max_rows * kernels::attention_partial(d)));
  const kernels::Table& table = active_kernels();
  KeyBlocks keys(k);
  ValueBlocks values(v);
  for (int64_t kv_head = 0; kv_head < kv_heads; ++kv_head) {
    const auto* k_blocks = keys.of_head(kv_head);
    const auto* v_blocks = values.of_head(kv_head);
    for (int64_t i = 0; i < heads_per_kv; ++i)
      for (int64_t first = 0; first < rows; first += max_rows) {
        const int64_t head = kv_head * group + i, count = std::min(max_rows, rows - first);
        table.attention_f32({count, d, &q(0, head, 0) + first * q_stride, q_stride, k_blocks,
                             v_blocks, lengths.data() + first, 0, positions, scale, partial.data(),
                             scratch.data()});
        table.attention_merge_f32(
            {count, d, 1, partial.data(), 0, &y(0, head, 0) + first * y_stride, y_stride});
      }
  }
}

}  // namespace octet::ops

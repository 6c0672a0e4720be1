#pragma once
// The rows of prefill attention: tokens x heads of a kv head, shared out over a block's warps.
#include "kernels/cuda/kernels.h"

namespace octet::kernels::cuda {

/// Query rows of a block whose warps have so many tiles of 16. Each operand read from shared memory
/// serves all tiles of a warp.
constexpr int query_rows(int threads, int row_tiles) {
  return threads / 32 * row_tiles * 16;
}

/// Where a lane's query rows come from and go to: lane / 4 of each tile of its warp, and 8 below.
template <int row_tiles>
class QueryRows {
 public:
  __device__ QueryRows(const Heads& heads, const AttentionTile& tile, int64_t kv_head)
      : tile_(tile),
        group_(static_cast<int>(heads.num_heads / heads.num_kv_heads)),
        first_head_(kv_head * group_) {}

  /// Row i: rows i / 2 of the warp's tiles, the upper or the lower half.
  __device__ bool there(int i) const { return wanted(i) < tile_.rows * group_; }
  __device__ int64_t row(int i) const { return tile_.first_row + query(i) / group_; }
  __device__ int64_t head(int i) const { return first_head_ + query(i) % group_; }
  __device__ int position(int i) const { return tile_.first_position + query(i) / group_; }

  /// Cache blocks up to the last that one of the block's rows sees, and those that all see whole.
  __device__ int cache_blocks() const {
    const int last = min(tile_.first_query + query_rows(static_cast<int>(blockDim.x), row_tiles),
                         tile_.rows * group_) -
                     1;
    return (tile_.first_position + last / group_) / int{kv_block} + 1;
  }
  __device__ int whole_blocks() const {
    return (tile_.first_position + tile_.first_query / group_ + 1) / int{kv_block};
  }

 private:
  __device__ int wanted(int i) const {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    return tile_.first_query + (warp * row_tiles + i / 2) * 16 + lane / 4 + i % 2 * 8;
  }
  /// The last of the chunk in place of one that is not there.
  __device__ int query(int i) const { return min(wanted(i), tile_.rows * group_ - 1); }

  const AttentionTile& tile_;
  int group_;
  int64_t first_head_;
};

}  // namespace octet::kernels::cuda

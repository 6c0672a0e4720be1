#pragma once
// What a cluster of blocks needs that shares out long rows of a decode multiplication. sm_90.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/ptx.cuh"

namespace octet::kernels::cuda {

/// Where the sum of a row and channel lies among a warp's of a tile, [columns][32 lanes][4].
__device__ inline int place_of_sum(int row, int channel) {
  return row / 8 * 128 + (channel / 2 * 4 + row % 8 / 2) * 4 + channel % 2 * 2 + row % 2;
}

/// The warps' sums of a tile in shared memory, of two rows: [warp][8 lanes][4].
template <int warps>
class WarpSums {
 public:
  static constexpr int words(int tiles) { return tiles * warps * 32; }
  __device__ explicit WarpSums(const int* shared) : shared_(shared) {}

  __device__ int of_all(int row, int channel) const {
    int sum = 0;
#pragma unroll
    for (int w = 0; w < warps; ++w)
      sum += shared_[w * 32 + channel / 2 * 4 + channel % 2 * 2 + row];
    return sum;
  }

 private:
  const int* shared_;
};
using TileSums = WarpSums<block_warps>;
static_assert(decode_sum_bytes(1) >= TileSums::words(row_slices) * 4 &&
              decode_sum_bytes(1) >= 2 * TileSums::words(row_turn) * 4);

/// This block's slice of a row, and what the blocks of its cluster tell each other.
class Slice {
 public:
  __device__ explicit Slice(SliceExchange* exchange) : exchange_(exchange) {
    if (threadIdx.x > 0) return;
    const int bytes[] = {sizeof exchange->absmax[0], sizeof exchange->absmax[1],
                         sizeof exchange->sums};
    for (int i = 0; i < 3; ++i) {
      barrier(i).init(1);
      barrier(i).expect(bytes[i]);
    }
  }
  /// The block's in its cluster. Its tile is the cluster's of the same number.
  __device__ static int rank() { return static_cast<int>(blockIdx.x % row_slices); }
  /// What is left of a multiplication and its source.
  __device__ static void cut(Linear& linear, RowSource& source, int chunks) {
    const int first = rank() * chunks * int{chunk_k};
    linear.weight = static_cast<const char*>(linear.weight) + first * 16;
    linear.k = min(static_cast<int>(linear.k) - first, chunks * int{chunk_k});
    source.values += first;
    source.k = linear.k;
  }

  /// Of the row, from the slices'.
  __device__ float operator()(float absmax, int plane) const {
    float(&all)[row_slices] = exchange_->absmax[plane];
    if (threadIdx.x < row_slices)
      barrier(plane).send(&all[rank()], __float_as_uint(absmax), static_cast<int>(threadIdx.x));
    barrier(plane).wait_for_cluster();
    absmax = all[0];
#pragma unroll
    for (int i = 1; i < row_slices; ++i) absmax = fmaxf(absmax, all[i]);
    return absmax;
  }
  /// Sends the sums to the blocks that have these tiles, and waits for those of this block's.
  __device__ void exchange(const int* sums, int tiles) const {
    const int tile = static_cast<int>(threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (tile < tiles)
      send(tile, TileSums(sums + tile * TileSums::words(1)).of_all(lane / 16, lane % 16));
    if (rank() < tiles) wait();
  }
  /// This lane's sum to the block that has the tile.
  __device__ void send(int tile, int sum) const {
    barrier(2).send(&exchange_->sums[rank()][threadIdx.x % 32], static_cast<uint32_t>(sum), tile);
  }
  /// For those of this block's tile.
  __device__ void wait() const {
    barrier(2).wait_for_cluster();
  }
  /// Of this block's tile.
  __device__ int of_all(int row, int channel) const {
    int sum = 0;
#pragma unroll
    for (int i = 0; i < row_slices; ++i) sum += exchange_->sums[i][row * 16 + channel];
    return sum;
  }

 private:
  __device__ CopyBarrier& barrier(int i) const {
    return reinterpret_cast<CopyBarrier*>(exchange_->barriers)[i];
  }
  SliceExchange* exchange_;
};

/// The same of `columns` of 8 rows that are quantized already. Sums are sent tile by tile.
template <int columns>
class SliceOfRows {
 public:
  __device__ explicit SliceOfRows(RowsExchange<columns>* exchange) : exchange_(exchange) {
    if (threadIdx.x > 0) return;
    barrier().init(1);
    barrier().expect(sizeof exchange->sums);
  }
  __device__ static int rank() { return Slice::rank(); }
  /// What is left of a multiplication and, where its warps quantize it, its source.
  __device__ static void cut(Linear& linear, RowSource& source, int chunks) {
    const int first = rank() * chunks * int{chunk_k};
    source.values += first;
    linear.weight = static_cast<const char*>(linear.weight) + first * 16;
    linear.k = min(static_cast<int>(linear.k) - first, chunks * int{chunk_k});
    linear.x.values += first;
  }

  /// The sums of place i of [columns][lanes] to the block that has their tile.
  __device__ void send(int tile, int i, const int4& sums) const {
    barrier().send(&exchange_->sums[rank()][4 * i], sums, tile);
  }
  __device__ void wait() const { barrier().wait_for_cluster(); }
  /// Of this block's tile.
  __device__ int of_all(int row, int channel) const {
    int sum = 0;
#pragma unroll
    for (int i = 0; i < row_slices; ++i) sum += exchange_->sums[i][place_of_sum(row, channel)];
    return sum;
  }

 private:
  __device__ CopyBarrier& barrier() const {
    void* const barrier = &exchange_->barrier;
    return *static_cast<CopyBarrier*>(barrier);
  }
  RowsExchange<columns>* exchange_;
};

}  // namespace octet::kernels::cuda

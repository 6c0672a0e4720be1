#pragma once
// What a cluster of blocks needs that shares out a long row of a decode multiplication. sm_90.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/ptx.cuh"

namespace octet::kernels::cuda {

/// The warps' sums of a cluster's tiles of a slice in shared memory, of two rows:
/// [tile][warp][8 lanes][4].
class SliceSums {
 public:
  __device__ explicit SliceSums(int* shared) : shared_(shared) {}

  __device__ void put(int tile, const int (&a)[4], const int (&b)[4]) const {
    const int lane = threadIdx.x % 32;
    if (lane % 4 > 0) return;  // of other rows
    reinterpret_cast<int4*>(shared_ + place(tile, threadIdx.x / 32))[lane / 4] =
        make_int4(a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]);
  }
  __device__ int of_all(int tile, int row, int channel) const {
    int sum = 0;
#pragma unroll
    for (int w = 0; w < block_warps; ++w)
      sum += shared_[place(tile, w) + channel / 2 * 4 + channel % 2 * 2 + row];
    return sum;
  }

 private:
  __device__ static int place(int tile, int warp) {
    return (tile * block_warps + warp) * 32;
  }
  int* shared_;
};
static_assert(decode_sum_bytes(1) >= row_slices * block_warps * 32 * 4);

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
  __device__ void exchange(const SliceSums& sums, int tiles) const {
    const int tile = static_cast<int>(threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (tile < tiles)
      barrier(2).send(&exchange_->sums[rank()][lane],
                      static_cast<uint32_t>(sums.of_all(tile, lane / 16, lane % 16)), tile);
    if (rank() < tiles) barrier(2).wait_for_cluster();
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

}  // namespace octet::kernels::cuda

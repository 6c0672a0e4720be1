// linear_prefill() where warpgroups multiply (sm_90a). A block computes a tile of channels x rows,
// each warpgroup 64 of its channels. A warp brings its own weights by cp.async, which are fragments
// and go to registers; bulk copies bring the rows, which all warps read where they lie. Several
// blocks on a multiprocessor keep its tensor cores busy meanwhile.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_output.cuh"
#include "kernels/cuda/warpgroup.cuh"

namespace octet::kernels::cuda {
namespace {

/// A step multiplies tiled_k values of K, in so many products.
constexpr int step_products = tiled_k / 32;
constexpr int step_chunks = tiled_k / int{chunk_k};

template <PrefillSize size>
class WarpgroupMultiplication {
  static constexpr WarpgroupTile tile = warpgroup_tile(size);
  static constexpr int stages = tile.stages, warps = 4 * tile.warpgroups;
  static constexpr int columns = tile.rows / 8;  // tiles of 8 rows
  static constexpr int row_bytes = tile.rows * tiled_k, weight_bytes = step_chunks * chunk_bytes;

 public:
  static constexpr int threads = tile.warpgroups * warpgroup_threads;

  __device__ WarpgroupMultiplication(const Linear& linear, char* shared)
      : a_(linear),
        steps_(static_cast<int>(tiled_stride(linear.k) / tiled_k)),
        warp_(static_cast<int>(threadIdx.x) / 32),
        lane_(static_cast<int>(threadIdx.x) % 32),
        tile_(warps * static_cast<int>(blockIdx.x) + warp_),
        first_row_(tile.rows * static_cast<int>(blockIdx.y)),
        rows_(shared),
        weights_(reinterpret_cast<uint4*>(rows_ + stages * row_bytes + warp_ * weight_bytes) +
                 lane_),
        filled_(
            reinterpret_cast<CopyBarrier*>(rows_ + stages * (row_bytes + warps * weight_bytes))),
        used_(filled_ + stages),
        scales_(reinterpret_cast<float*>(used_ + stages)) {
    // Warps behind the last channel multiply its tile once more.
    const int64_t from = min(int64_t{tile_}, a_.n_tiles - 1) * num_chunks(a_.k) * chunk_bytes;
    weight_ = reinterpret_cast<const uint4*>(static_cast<const char*>(a_.weight) + from) + lane_;
  }

  __device__ void run() {
    if (threadIdx.x == 0) make_barriers();
#pragma unroll
    for (int step = 0; step < stages; ++step) copy_weights(step);
    wait_previous_kernels();
    static_assert(tile.rows <= threads);
    if (const int row = static_cast<int>(threadIdx.x); row < tile.rows)
      scales_[row] = a_.x.scale[min(int64_t{first_row_ + row}, a_.rows - 1)];
    __syncthreads();
    if (threadIdx.x == 0)
      for (int step = 0; step < stages && step < steps_; ++step) copy_rows(step);
    __syncwarp();
    for (int step = 0; step < steps_; ++step) multiply(step);
    if (tile_ < a_.n_tiles) store();
  }

 private:
  __device__ void make_barriers() {
    for (int stage = 0; stage < stages; ++stage) {
      filled_[stage].init(1);
      used_[stage].init(warps);
    }
    CopyBarrier::made();
  }

  /// Each lane copies what it will read. The last step may go past the last chunk, into what rows
  /// have zeros for.
  __device__ void copy_weights(int step) {
    if (step < steps_) {
      Copies<step_products> copies;
      uint4* to = weights_ + step % stages * (warps * weight_bytes / 16);
#pragma unroll
      for (int i = 0; i < step_products; ++i)
        copies.start(i, to + i * 32, weight_ + step * (weight_bytes / 16) + i * 32);
    }
    commit_copies();
  }
  __device__ void copy_rows(int step) {
    const int64_t tile_begin = int64_t{first_row_ / tiled_rows} * steps_ + step;
    const int8_t* from =
        a_.x.values + (tile_begin * tiled_rows + first_row_ % tiled_rows) * tiled_k;
    CopyBarrier& filled = filled_[step % stages];
    filled.expect(row_bytes);
    filled.copy_kept(rows_ + step % stages * row_bytes, from, row_bytes);
  }

  __device__ void multiply(int step) {
    const int stage = step % stages, parity = step / stages % 2;
    wait_copies<stages - 1>();
    uint4 weights[step_products];
#pragma unroll
    for (int i = 0; i < step_products; ++i)
      weights[i] = weights_[stage * (warps * weight_bytes / 16) + i * 32];
    filled_[stage].wait(parity);
    const SwizzledRows rows(rows_ + stage * row_bytes, 0);
    begin_products();
#pragma unroll
    for (int i = 0; i < step_products; ++i) add_product(sums_, weights[i], rows.columns(i));
    commit_products();
    copy_weights(step + stages);
    wait_products(sums_);
    if (lane_ == 0) used_[stage].arrive();
    if (threadIdx.x == 0 && step + stages < steps_) {
      used_[stage].wait(parity);
      copy_rows(step + stages);
    }
    __syncwarp();
  }

  /// The lane's registers i and i + 2 are neighbouring channels of a row.
  __device__ int64_t channel() const {
    return int64_t{tile_} * 16 + lane_ / 4 * 2;
  }
  /// Of the block's.
  __device__ int row(int column, int i) const {
    return column * 8 + lane_ % 4 * 2 + i;
  }
  __device__ float* out(int column, int i) const {
    return a_.out + (first_row_ + row(column, i)) * a_.out_stride;
  }
  __device__ bool inside(int column, int i) const {
    return first_row_ + row(column, i) < a_.rows;
  }

  /// Scales and biases of the lane's two channels.
  struct Constants {
    float scale[2], bias[2];
  };

  /// What is there before is read for several columns at a time: behind a store, a load would have
  /// to wait for it.
  __device__ void store() {
    Constants constants;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      constants.scale[half] = channel_scale(a_.scale, channel() + half);
      constants.bias[half] = bias_of(a_, channel() + half);
    }
    constexpr int at_a_time = 8;
#pragma unroll
    for (int first = 0; first < columns; first += at_a_time) {
      float2 before[at_a_time][2];
      if (a_.output == Output::add)
#pragma unroll
        for (int c = 0; c < at_a_time; ++c)
#pragma unroll
          for (int i = 0; i < 2; ++i)
            if (inside(first + c, i))
              before[c][i] = *reinterpret_cast<const float2*>(out(first + c, i) + channel());
#pragma unroll
      for (int c = 0; c < at_a_time; ++c)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          if (inside(first + c, i)) store_two(constants, first + c, i, before[c][i]);
    }
  }
  __device__ void store_two(const Constants& constants, int column, int i, const float2& before) {
    const float x_scale = scales_[row(column, i)];
    float values[2];
#pragma unroll
    for (int half = 0; half < 2; ++half)
      values[half] =
          with_bias(a_, constants.bias[half],
                    dequantize(sums_[column][i + 2 * half], x_scale, constants.scale[half]));
    float* to = out(column, i);
    if (a_.output == Output::silu_mul) {
      to[channel() / 2] = silu_mul(values[0], values[1]);
    } else {
      if (a_.output == Output::add) {
        values[0] = before.x + values[0];
        values[1] = before.y + values[1];
      }
      *reinterpret_cast<float2*>(to + channel()) = make_float2(values[0], values[1]);
    }
  }

  const Linear& a_;
  int steps_, warp_, lane_;
  int tile_;       // the warp's, of 16 channels
  int first_row_;  // the block's
  char* rows_;
  uint4* weights_;       // the lane's, of the first stage
  const uint4* weight_;  // from there, for the first step
  CopyBarrier *filled_, *used_;
  float* scales_;
  int sums_[columns][4] = {};
};

/// Registers for as many blocks as shared memory has room for.
template <PrefillSize size>
__global__ void __launch_bounds__(WarpgroupMultiplication<size>::threads,
                                  size == PrefillSize::large ? 2 : 4)
    linear_prefill_warpgroup_kernel(const __grid_constant__ Linear linear) {
  allow_next_kernel();
  if constexpr (has_warpgroups) WarpgroupMultiplication<size>(linear, swizzled_shared()).run();
}

}  // namespace

void linear_prefill_warpgroup(const Linear& linear, const Queue& queue) {
  const PrefillPlan plan = plan_warpgroup_prefill(linear.rows, linear.n_tiles,
                                                  queue.multiprocessors, queue.shared_bytes);
  const bool large = plan.size == PrefillSize::large;
  launch(large ? linear_prefill_warpgroup_kernel<PrefillSize::large>
               : linear_prefill_warpgroup_kernel<PrefillSize::small>,
         {dim3(extent(plan.channel_tiles), extent(plan.row_tiles)),
          warpgroup_tile(plan.size).warpgroups * warpgroup_threads, plan.shared_bytes},
         queue, linear);
}

}  // namespace octet::kernels::cuda

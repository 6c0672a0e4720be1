// linear_prefill() where warpgroups multiply (sm_90a). A block computes a tile of channels x rows,
// each warpgroup 64 of its channels. A warp brings its own weights by cp.async, which are fragments
// and go to registers; a bulk copy brings a step's rows, which all warps read where they lie. Other
// blocks on the multiprocessor keep its tensor cores busy while one waits or stores.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_output.cuh"
#include "kernels/cuda/warpgroup.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int threads_of(WarpgroupSize size) {
  return warpgroup_tile(size).warpgroups * warpgroup_threads;
}

template <WarpgroupSize size>
class WarpgroupMultiplication {
  /// A step multiplies tiled_k values of K, in so many products.
  static constexpr int step_products = tiled_k / 32, step_chunks = tiled_k / int{chunk_k};
  static constexpr WarpgroupTile tile = warpgroup_tile(size);
  static constexpr int threads = threads_of(size);
  static constexpr int stages = tile.stages, warps = 4 * tile.warpgroups;
  static constexpr int columns = tile.rows / 8;                      // tiles of 8 rows
  static constexpr bool grouped = size == WarpgroupSize::of_groups;  // a step is a group
  static constexpr int row_bytes = tile.rows * tiled_k, weight_bytes = step_chunks * chunk_bytes;

 public:
  __device__ WarpgroupMultiplication(const Linear& linear, char* shared)
      : a_(linear),
        steps_(static_cast<int>(tiled_stride(linear.k) / tiled_k)),
        row_scales_(grouped ? steps_ : 1),
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
    const Constants constants = read_constants();
    wait_previous_kernels();
    if (threadIdx.x == 0)
      for (int step = 0; step < stages && step < steps_; ++step) copy_rows(step);
    __syncwarp();
    read_scales();
    __syncthreads();
    for (int step = 0; step < steps_; ++step) multiply(step);
    if (tile_ < a_.n_tiles) store(constants);
  }

 private:
  /// Scales and biases of the lane's two channels.
  struct Constants {
    float scale[2], bias[2];
  };
  __device__ Constants read_constants() const {
    Constants constants;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t at = min(channel() + half, a_.n_tiles * 16 - 1);
      constants.scale[half] = grouped ? 0.0f : channel_scale(a_.scale, at);
      constants.bias[half] = bias_of(a_, at);
    }
    return constants;
  }

  __device__ void make_barriers() {
    for (int stage = 0; stage < stages; ++stage) {
      filled_[stage].init(1);
      used_[stage].init(warps);
    }
    CopyBarrier::made();
  }

  /// Of the block's rows, as far as there are.
  __device__ void read_scales() {
    const auto count =
        static_cast<int>(min(int64_t{tile.rows}, a_.rows - first_row_)) * row_scales_;
    const float* from = a_.x.scale + int64_t{first_row_} * row_scales_;
    for (int i = static_cast<int>(threadIdx.x); i < count; i += threads) scales_[i] = from[i];
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
  /// Of one tiled_rows, or of two, the second of which may not be there.
  __device__ void copy_rows(int step) {
    CopyBarrier& filled = filled_[step % stages];
    char* to = rows_ + step % stages * row_bytes;
    const int first = min(tile.rows, tiled_rows - first_row_ % tiled_rows);
    const int second = first_row_ + first < a_.rows ? tile.rows - first : 0;
    filled.expect((first + second) * tiled_k);
    filled.copy_kept(to, tiled(first_row_, step), first * tiled_k);
    if (second > 0)
      filled.copy_kept(to + first * tiled_k, tiled(first_row_ + first, step), second * tiled_k);
  }
  __device__ const int8_t* tiled(int row, int step) const {
    const int64_t tile_begin = int64_t{row / tiled_rows} * steps_ + step;
    return a_.x.values + (tile_begin * tiled_rows + row % tiled_rows) * tiled_k;
  }

  __device__ void multiply(int step) {
    const int stage = step % stages, parity = step / stages % 2;
    wait_copies<stages - 1>();
    uint4 weights[step_products];
#pragma unroll
    for (int i = 0; i < step_products; ++i)
      weights[i] = weights_[stage * (warps * weight_bytes / 16) + i * 32];
    GroupScales group_scales;
    if (grouped) group_scales = scales_of(step);
    filled_[stage].wait(parity);
    const SwizzledRows rows(rows_ + stage * row_bytes, 0);
    begin_products();
#pragma unroll
    for (int i = 0; i < step_products; ++i)
      product(sums_, weights[i], rows.columns(i), i > 0 || (!grouped && step > 0));
    commit_products();
    copy_weights(step + stages);
    wait_products(sums_);
    if (lane_ == 0) used_[stage].arrive();
    if (threadIdx.x == 0 && step + stages < steps_) {
      used_[stage].wait(parity);
      copy_rows(step + stages);
    }
    __syncwarp();
    if (grouped) end_group(step, group_scales);
  }

  /// Of a group, of the lane's two channels.
  struct GroupScales {
    float weight[2];
  };
  __device__ GroupScales scales_of(int group) const {
    GroupScales scales;
#pragma unroll
    for (int half = 0; half < 2; ++half)
      scales.weight[half] =
          group_scale(a_.scale, min(channel() + half, a_.n_tiles * 16 - 1), steps_, group);
    return scales;
  }
  __device__ void end_group(int group, const GroupScales& scales) {
#pragma unroll
    for (int c = 0; c < columns; ++c)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float x_scale = scales_[row(c, i) * row_scales_ + group];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float& value = values_[c][i + 2 * half];
          value = add_group(sums_[c][i + 2 * half], x_scale, scales.weight[half], value);
        }
      }
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

  /// What is there before is read for several columns at a time: behind a store, a load would have
  /// to wait for it.
  __device__ void store(const Constants& constants) {
    constexpr int at_a_time = columns % 8 == 0 ? 8 : 6;
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
    float values[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int at = i + 2 * half;
      values[half] = with_bias(
          a_, constants.bias[half],
          grouped ? values_[grouped ? column : 0][at]
                  : dequantize(sums_[column][at], scales_[row(column, i)], constants.scale[half]));
    }
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
  int steps_;
  int row_scales_;  // of a row
  int warp_, lane_;
  int tile_;       // the warp's, of 16 channels
  int first_row_;  // the block's
  char* rows_;
  uint4* weights_;       // the lane's, of the first stage
  const uint4* weight_;  // from there, for the first step
  CopyBarrier *filled_, *used_;
  float* scales_;
  int sums_[columns][4];
  float values_[grouped ? columns : 1][4] = {};
};

/// Registers for as many blocks as shared memory has room for.
template <WarpgroupSize size>
__global__ void __launch_bounds__(threads_of(size), warpgroup_tile(size).residents)
    linear_prefill_warpgroup_kernel(const __grid_constant__ Linear linear) {
  allow_next_kernel();
  if constexpr (has_warpgroups) WarpgroupMultiplication<size>(linear, swizzled_shared()).run();
}

auto kernel_for(WarpgroupSize size) {
  switch (size) {
    case WarpgroupSize::large:
      return linear_prefill_warpgroup_kernel<WarpgroupSize::large>;
    case WarpgroupSize::medium:
      return linear_prefill_warpgroup_kernel<WarpgroupSize::medium>;
    case WarpgroupSize::small:
      return linear_prefill_warpgroup_kernel<WarpgroupSize::small>;
    case WarpgroupSize::of_groups:
      break;
  }
  return linear_prefill_warpgroup_kernel<WarpgroupSize::of_groups>;
}

void launch_plane(const Linear& linear, const Queue& queue) {
  const WarpgroupPlan plan = plan_warpgroup_prefill(linear.rows, linear.n_tiles, linear.grouped,
                                                    linear.grouped ? num_groups(linear.k) : 1,
                                                    queue.multiprocessors, queue.shared_bytes);
  launch(kernel_for(plan.size),
         {dim3(extent(plan.channel_tiles), extent(plan.row_tiles)), threads_of(plan.size),
          plan.shared_bytes},
         queue, linear);
}

/// The second plane, which adds to what the first has given, in the tiles that take it.
Linear second_plane(const Linear& linear) {
  const int64_t first = linear.rest_first_tile;
  Linear plane = linear;
  plane.n_tiles = linear.rest_end_tile - first;
  plane.weight =
      static_cast<const char*>(linear.weight) + first * num_chunks(linear.k) * chunk_bytes;
  plane.scale = static_cast<const char*>(linear.rest_scale) +
                first * tile_scale_bytes(linear.k, linear.grouped);
  plane.bias = nullptr;
  plane.x.values += tiled_bytes(linear.rows, linear.k);
  plane.x.scale += linear.rows * (linear.grouped ? num_groups(linear.k) : 1);
  plane.out += first * 16;
  plane.output = Output::add;
  return plane;
}

}  // namespace

void linear_prefill_warpgroup(const Linear& linear, const Queue& queue) {
  launch_plane(linear, queue);
  if (linear.planes > 1) launch_plane(second_plane(linear), queue);
}

}  // namespace octet::kernels::cuda

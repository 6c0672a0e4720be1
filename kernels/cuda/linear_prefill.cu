// Matrix multiplication for many rows on the int8 tensor cores. A block computes a tile of
// channels x rows; a ring in shared memory brings the next chunks of K while the warps multiply.
// Weights lie there as fragments and activations as rows of 64 bytes: either is read with 16-byte
// loads that meet no bank conflict.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_output.cuh"
#include "kernels/cuda/ptx.cuh"

namespace octet::kernels::cuda {
namespace {

/// A warp computes warp_tiles tiles of 16 channels x warp_columns tiles of 8 rows; a block has
/// across x down such warps.
template <int warp_tiles, int warp_columns, int down, int across>
struct Tiling {
  static constexpr int threads = 32 * down * across;
  static constexpr int tiles = warp_tiles * down;  // of 16 channels
  static constexpr int rows = 8 * warp_columns * across;
  static constexpr int weight_pieces = tiles * 64;  // of 16 bytes, one chunk of K
  static constexpr int pieces = weight_pieces + rows * 4;
  static constexpr int stages = prefill_stages(code_architecture);
  static constexpr int stage_bytes = 16 * pieces;
  static constexpr int copies = pieces / threads;  // of a thread
  static_assert(pieces % threads == 0 && weight_pieces % threads == 0);
  static_assert(stage_bytes == prefill_stage_bytes(16 * tiles, rows));
};

template <int warp_tiles, int warp_columns, int down, int across, bool grouped, int planes>
class Multiplication {
  using T = Tiling<warp_tiles, warp_columns, down, across>;

 public:
  __device__ Multiplication(const Linear& linear, char* shared)
      : a_(linear),
        shared_(shared),
        chunks_(static_cast<int>(num_chunks(linear.k))),
        first_tile_(T::tiles * static_cast<int>(blockIdx.y)),
        first_row_(T::rows * static_cast<int>(blockIdx.x)),
        warp_down_(threadIdx.x / 32 / across),
        warp_across_(threadIdx.x / 32 % across),
        lane_(threadIdx.x % 32) {
    const int64_t stride = linear.x.stride / 16;
    rest_ = linear.rows * stride;
    if (planes > 1)
      planes_here_ = first_tile_ < a_.rest_end_tile && first_tile_ + T::tiles > a_.rest_first_tile
                         ? planes
                         : 1;
#pragma unroll
    for (int i = 0; i < T::copies; ++i) {
      const int piece = static_cast<int>(threadIdx.x) + i * T::threads;
      if (i * T::threads < T::weight_pieces) {
        const int64_t tile = min(int64_t{first_tile_ + piece / 64}, a_.n_tiles - 1);
        source_[i] = static_cast<int>((tile - first_tile_) * chunks_ * 64) + piece % 64;
      } else {
        const int of_rows = piece - T::weight_pieces;
        const int64_t row = min(int64_t{first_row_ + of_rows / 4}, a_.rows - 1);
        source_[i] = static_cast<int>((row - first_row_) * stride) + of_rows % 4;
      }
    }
    weight_ = static_cast<const uint4*>(linear.weight) + int64_t{first_tile_} * chunks_ * 64;
    x_ = reinterpret_cast<const uint4*>(linear.x.values) + first_row_ * stride;
  }

  __device__ void run() {
    Copies<T::copies> copies;
    Step ahead;
#pragma unroll
    for (int stage = 0; stage < T::stages - 1; ++stage) {
      if (there(ahead)) {
        start_copies(copies, ahead, stage);
        copies.store();
      }
      commit_copies();
      advance(ahead);
    }
    int stage = 0;
    for (Step step; there(step); advance(step)) {
      wait_copies<T::stages - 2>();
      __syncthreads();
      const bool more = there(ahead);
      if (more) start_copies(copies, ahead, (stage + T::stages - 1) % T::stages);
      commit_copies();
      multiply(stage);
      if (more) copies.store();
      advance(ahead);
      stage = (stage + 1) % T::stages;
      const bool last = step.chunk + 1 == chunks_;
      if (grouped && (step.chunk % 2 == 1 || last)) end_group(step.plane, step.chunk / 2);
      if (planes > 1 && last) end_plane(step.plane);
    }
    if (planes == 1) end_plane(0);
    store();
  }

 private:
  /// What a stage of the ring holds: a chunk of K, of a plane.
  struct Step {
    int chunk = 0, plane = 0;
  };
  __device__ bool there(const Step& step) const {
    return planes == 1 ? step.chunk < chunks_ : step.plane < planes_here_;
  }
  __device__ void advance(Step& step) const {
    ++step.chunk;
    if (planes > 1 && step.chunk == chunks_) step = {0, step.plane + 1};
  }
  __device__ void start_copies(Copies<T::copies>& copies, const Step& step, int stage) const {
    char* to = shared_ + stage * T::stage_bytes;
    const uint4* weight = weight_ + step.chunk * 64;
    const uint4* x = x_ + step.chunk * 4 + (planes > 1 ? step.plane * rest_ : 0);
#pragma unroll
    for (int i = 0; i < T::copies; ++i) {
      const int piece = static_cast<int>(threadIdx.x) + i * T::threads;
      copies.start(i, to + piece * 16,
                   (i * T::threads < T::weight_pieces ? weight : x) + source_[i]);
    }
  }

  __device__ void multiply(int stage) {
    const char* chunk = shared_ + stage * T::stage_bytes;
    const auto* weight =
        reinterpret_cast<const uint4*>(chunk) + warp_down_ * warp_tiles * 64 + lane_;
    // Lane 4 g + q has row g of a tile of 8, values 16 q to 16 q + 15 of the chunk.
    const auto* x = reinterpret_cast<const uint4*>(chunk) + T::weight_pieces +
                    warp_across_ * warp_columns * 32 + lane_;
    uint4 fragment[warp_tiles][2];
#pragma unroll
    for (int t = 0; t < warp_tiles; ++t) {
      fragment[t][0] = weight[t * 64];
      fragment[t][1] = weight[t * 64 + 32];
    }
#pragma unroll
    for (int c = 0; c < warp_columns; ++c) {
      const uint4 column = x[c * 32];
#pragma unroll
      for (int t = 0; t < warp_tiles; ++t) mma_s8(sums_[t][c], fragment[t][0], column.x, column.y);
#pragma unroll
      for (int t = 0; t < warp_tiles; ++t) mma_s8(sums_[t][c], fragment[t][1], column.z, column.w);
    }
  }

  /// Row and channel of register i of the lane's results.
  __device__ int64_t row(int c, int i) const {
    return first_row_ + (warp_across_ * warp_columns + c) * 8 + lane_ % 4 * 2 + i % 2;
  }
  __device__ int64_t channel(int t, int i) const {
    return (first_tile_ + warp_down_ * warp_tiles + t) * 16 + lane_ / 4 * 2 + i / 2;
  }
  __device__ bool inside(int64_t row, int64_t channel) const {
    return row < a_.rows && channel < a_.n_tiles * 16;
  }

  __device__ const void* scale(int plane) const {
    return plane == 0 ? a_.scale : a_.rest_scale;
  }

  __device__ void end_group(int plane, int group) {
    const int64_t groups = num_groups(a_.k), first_row = plane * a_.rows;
    float w_scale[warp_tiles][2];
#pragma unroll
    for (int t = 0; t < warp_tiles; ++t)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t at = min(channel(t, 2 * half), a_.n_tiles * 16 - 1);
        w_scale[t][half] = group_scale(scale(plane), at, groups, group);
      }
#pragma unroll
    for (int c = 0; c < warp_columns; ++c) {
      float x_scale[2];
#pragma unroll
      for (int i = 0; i < 2; ++i)
        x_scale[i] = a_.x.scale[(first_row + min(row(c, i), a_.rows - 1)) * groups + group];
#pragma unroll
      for (int t = 0; t < warp_tiles; ++t)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          values_[t][c][i] =
              add_group(sums_[t][c][i], x_scale[i % 2], w_scale[t][i / 2], values_[t][c][i]);
          sums_[t][c][i] = 0;
        }
    }
  }

  /// The plane's products, with the bias, join the results, and those what was there before: the
  /// CPU adds in this order.
  __device__ void end_plane(int plane) {
    const int64_t of_plane = plane * a_.rows;
    float x_scale[warp_columns][2];
#pragma unroll
    for (int c = 0; c < warp_columns; ++c)
#pragma unroll
      for (int i = 0; i < 2; ++i)
        x_scale[c][i] = grouped ? 0.0f : a_.x.scale[of_plane + min(row(c, i), a_.rows - 1)];
#pragma unroll
    for (int t = 0; t < warp_tiles; ++t) {
      float w_scale[2], bias[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t at = min(channel(t, 2 * half), a_.n_tiles * 16 - 1);
        w_scale[half] = grouped ? 0.0f : channel_scale(scale(plane), at);
        bias[half] = bias_of(a_, at);
      }
#pragma unroll
      for (int c = 0; c < warp_columns; ++c)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float value = grouped
                                  ? values_[t][c][i]
                                  : dequantize(sums_[t][c][i], x_scale[c][i % 2], w_scale[i / 2]);
          results_[t][c][i] =
              plane == 0 ? with_bias(a_, bias[i / 2], value) : results_[t][c][i] + value;
          if (planes == 1) continue;
          sums_[t][c][i] = 0;
          if (grouped) values_[t][c][i] = 0;
        }
      if (plane == 0 && a_.output == Output::add) add_before(t);
    }
  }

  __device__ void add_before(int t) {
#pragma unroll
    for (int c = 0; c < warp_columns; ++c)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (!inside(row(c, i), channel(t, i))) continue;
        const float2 before =
            *reinterpret_cast<const float2*>(a_.out + row(c, i) * a_.out_stride + channel(t, i));
        results_[t][c][i] = before.x + results_[t][c][i];
        results_[t][c][i + 2] = before.y + results_[t][c][i + 2];
      }
  }

  /// Results of channels `channel` and the next.
  __device__ void store_two(int64_t row, int64_t channel, float first, float second) const {
    float* out = a_.out + row * a_.out_stride;
    if (a_.output == Output::silu_mul)
      out[channel / 2] = silu_mul(first, second);
    else
      *reinterpret_cast<float2*>(out + channel) = make_float2(first, second);
  }

  __device__ void store() const {
#pragma unroll
    for (int t = 0; t < warp_tiles; ++t)
#pragma unroll
      for (int c = 0; c < warp_columns; ++c)
#pragma unroll
        for (int i = 0; i < 2; ++i)  // registers i and i + 2 are neighbouring channels of a row
          if (inside(row(c, i), channel(t, i)))
            store_two(row(c, i), channel(t, i), results_[t][c][i], results_[t][c][i + 2]);
  }

  const Linear& a_;
  char* shared_;
  int chunks_;
  int first_tile_, first_row_;
  const uint4 *weight_, *x_;
  int source_[T::copies];  // from there, in pieces of 16 bytes, for the first chunk
  int64_t rest_;           // from a row of the first plane to the second's, in pieces
  int planes_here_ = 1;
  int warp_down_, warp_across_, lane_;
  int sums_[warp_tiles][warp_columns][4] = {};
  float values_[grouped ? warp_tiles : 1][grouped ? warp_columns : 1][4] = {};
  float results_[warp_tiles][warp_columns][4];
};

/// Registers for as many blocks as shared memory has room for, where sums are all that a warp
/// holds.
template <int warp_tiles, int warp_columns, int down, int across, bool grouped, int planes>
__global__ void __launch_bounds__(32 * down * across,
                                  grouped || planes > 1 ? 1 : prefill_residents(code_architecture))
    linear_prefill_kernel(const __grid_constant__ Linear linear) {
  allow_next_kernel();
  wait_previous_kernels();
  Multiplication<warp_tiles, warp_columns, down, across, grouped, planes>(linear,
                                                                          dynamic_shared<char>())
      .run();
}

template <int warp_tiles, int warp_columns, int down, int across, bool grouped, int planes>
void launch_tiling(const Linear& linear, const PrefillPlan& plan, const Queue& queue) {
  using T = Tiling<warp_tiles, warp_columns, down, across>;
  launch(linear_prefill_kernel<warp_tiles, warp_columns, down, across, grouped, planes>,
         {dim3(extent(plan.row_tiles), extent(plan.channel_tiles)), T::threads, plan.shared_bytes},
         queue, linear);
}

template <bool grouped, int planes>
void launch_size(const Linear& linear, const Queue& queue) {
  constexpr bool large_tiles = has_large_tiles(grouped, planes);
  const PrefillPlan plan =
      plan_prefill(linear.rows, linear.n_tiles, large_tiles, queue.architecture,
                   queue.multiprocessors, queue.shared_bytes);
  if constexpr (large_tiles)
    if (plan.size == PrefillSize::large)
      return launch_tiling<4, 4, 2, 2, grouped, planes>(linear, plan, queue);
  launch_tiling<2, 4, 2, 2, grouped, planes>(linear, plan, queue);
}

}  // namespace

void linear_prefill(const Linear& linear, const Queue& queue) {
  if (linear.x.tiled)
    linear_prefill_warpgroup(linear, queue);
  else if (linear.grouped && linear.planes > 1)
    launch_size<true, 2>(linear, queue);
  else if (linear.grouped)
    launch_size<true, 1>(linear, queue);
  else if (linear.planes > 1)
    launch_size<false, 2>(linear, queue);
  else
    launch_size<false, 1>(linear, queue);
}

}  // namespace octet::kernels::cuda

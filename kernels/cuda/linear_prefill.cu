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

template <int warp_tiles, int warp_columns, int down, int across, bool grouped>
class Multiplication {
  using T = Tiling<warp_tiles, warp_columns, down, across>;

 public:
  __device__ Multiplication(const Linear& linear, char* shared)
      : a_(linear),
        shared_(shared),
        chunks_(static_cast<int>(num_chunks(linear.k))),
        first_tile_(int64_t{T::tiles} * blockIdx.y),
        first_row_(int64_t{T::rows} * blockIdx.x),
        warp_down_(threadIdx.x / 32 / across),
        warp_across_(threadIdx.x / 32 % across),
        lane_(threadIdx.x % 32) {
    const int64_t stride = activation_stride(linear.k) / 16;
#pragma unroll
    for (int i = 0; i < T::copies; ++i) {
      const int piece = static_cast<int>(threadIdx.x) + i * T::threads;
      if (i * T::threads < T::weight_pieces) {
        const int64_t tile = min(first_tile_ + piece / 64, a_.n_tiles - 1);
        source_[i] = static_cast<int>((tile - first_tile_) * chunks_ * 64) + piece % 64;
      } else {
        const int of_rows = piece - T::weight_pieces;
        const int64_t row = min(first_row_ + of_rows / 4, a_.rows - 1);
        source_[i] = static_cast<int>((row - first_row_) * stride) + of_rows % 4;
      }
    }
    weight_ = static_cast<const uint4*>(linear.weight) + first_tile_ * chunks_ * 64;
    x_ = reinterpret_cast<const uint4*>(linear.x.values) + first_row_ * stride;
  }

  __device__ void run() {
    Copies<T::copies> copies;
#pragma unroll
    for (int stage = 0; stage < T::stages - 1; ++stage) {
      if (stage < chunks_) {
        start_copies(copies, stage);
        copies.store();
      }
      commit_copies();
    }
    for (int chunk = 0; chunk < chunks_; ++chunk) {
      wait_copies<T::stages - 2>();
      __syncthreads();
      const int ahead = chunk + T::stages - 1;
      if (ahead < chunks_) start_copies(copies, ahead);
      commit_copies();
      multiply(chunk);
      if (ahead < chunks_) copies.store();
      if (grouped && (chunk % 2 == 1 || chunk + 1 == chunks_)) end_group(chunk / 2);
    }
    store();
  }

 private:
  __device__ void start_copies(Copies<T::copies>& copies, int chunk) {
    char* stage = shared_ + chunk % T::stages * T::stage_bytes;
    const uint4 *weight = weight_ + chunk * 64, *x = x_ + chunk * 4;
#pragma unroll
    for (int i = 0; i < T::copies; ++i) {
      const int piece = static_cast<int>(threadIdx.x) + i * T::threads;
      copies.start(i, stage + piece * 16,
                   (i * T::threads < T::weight_pieces ? weight : x) + source_[i]);
    }
  }

  __device__ void multiply(int chunk) {
    const char* stage = shared_ + chunk % T::stages * T::stage_bytes;
    const auto* weight =
        reinterpret_cast<const uint4*>(stage) + warp_down_ * warp_tiles * 64 + lane_;
    // Lane 4 g + q has row g of a tile of 8, values 16 q to 16 q + 15 of the chunk.
    const auto* x = reinterpret_cast<const uint4*>(stage) + T::weight_pieces +
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

  __device__ void end_group(int group) {
    const int64_t groups = num_groups(a_.k);
    float w_scale[warp_tiles][2];
#pragma unroll
    for (int t = 0; t < warp_tiles; ++t)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t at = min(channel(t, 2 * half), a_.n_tiles * 16 - 1);
        w_scale[t][half] = group_scale(a_, at, groups, group);
      }
#pragma unroll
    for (int c = 0; c < warp_columns; ++c) {
      float x_scale[2];
#pragma unroll
      for (int i = 0; i < 2; ++i)
        x_scale[i] = a_.x.scale[min(row(c, i), a_.rows - 1) * groups + group];
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

  __device__ void store_row(int64_t row, int64_t channel, float2 value, float2 next) const {
    float* out = a_.out + row * a_.out_stride;
    if (a_.output == Output::silu_mul) {
      *reinterpret_cast<float2*>(out + channel / 32 * 16 + channel % 16) =
          make_float2(silu_mul(value.x, next.x), silu_mul(value.y, next.y));
      return;
    }
    auto* at = reinterpret_cast<float2*>(out + channel);
    if (a_.output == Output::add) {
      const float2 before = *at;
      value = make_float2(before.x + value.x, before.y + value.y);
    }
    *at = value;
  }

  /// Scales and biases are read first: a store could change them, as far as the compiler knows.
  __device__ void store() const {
    float x_scale[warp_columns][2], w_scale[warp_tiles][2], bias[warp_tiles][2];
#pragma unroll
    for (int t = 0; t < warp_tiles; ++t)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t at = min(channel(t, 2 * half), a_.n_tiles * 16 - 1);
        w_scale[t][half] = grouped ? 0.0f : channel_scale(a_, at);
        bias[t][half] = bias_of(a_, at);
      }
#pragma unroll
    for (int c = 0; c < warp_columns; ++c)
#pragma unroll
      for (int i = 0; i < 2; ++i)
        x_scale[c][i] = grouped ? 0.0f : a_.x.scale[min(row(c, i), a_.rows - 1)];
    const auto value = [&](int t, int c, int i) {
      const float result = grouped
                               ? values_[t][c][i]
                               : dequantize(sums_[t][c][i], x_scale[c][i % 2], w_scale[t][i / 2]);
      return with_bias(a_, bias[t][i / 2], result);
    };
#pragma unroll
    for (int t = 0; t < warp_tiles; ++t)
#pragma unroll
      for (int c = 0; c < warp_columns; ++c)
#pragma unroll
        for (int i = 0; i < 2; ++i) {  // registers i and i + 2 are neighbouring channels of a row
          if (!inside(row(c, i), channel(t, i))) continue;
          if (a_.output == Output::silu_mul && t % 2 == 1) continue;  // up, with its gate
          const int next = t / 2 * 2 + 1;
          store_row(row(c, i), channel(t, i), make_float2(value(t, c, i), value(t, c, i + 2)),
                    make_float2(value(next, c, i), value(next, c, i + 2)));
        }
  }

  const Linear& a_;
  char* shared_;
  int chunks_;
  int64_t first_tile_, first_row_;
  const uint4 *weight_, *x_;
  int source_[T::copies];  // from there, in pieces of 16 bytes, for the first chunk
  int warp_down_, warp_across_, lane_;
  int sums_[warp_tiles][warp_columns][4] = {};
  float values_[grouped ? warp_tiles : 1][grouped ? warp_columns : 1][4] = {};
};

template <int warp_tiles, int warp_columns, int down, int across, bool grouped>
__global__ void __launch_bounds__(32 * down * across)
    linear_prefill_kernel(const __grid_constant__ Linear linear) {
  allow_next_kernel();
  wait_previous_kernels();
  Multiplication<warp_tiles, warp_columns, down, across, grouped>(linear, dynamic_shared<char>())
      .run();
}

template <int warp_tiles, int warp_columns, int down, int across, bool grouped>
void launch_tiling(const Linear& linear, const PrefillPlan& plan, const Queue& queue) {
  using T = Tiling<warp_tiles, warp_columns, down, across>;
  launch(linear_prefill_kernel<warp_tiles, warp_columns, down, across, grouped>,
         {dim3(extent(plan.row_tiles), extent(plan.channel_tiles)), T::threads,
          prefill_stages(queue.architecture) * T::stage_bytes},
         queue, linear);
}

}  // namespace

void linear_prefill(const Linear& linear, const Queue& queue) {
  const PrefillPlan plan = plan_prefill(linear.rows, linear.n_tiles, queue.multiprocessors);
  if (plan.large && linear.grouped)
    launch_tiling<4, 4, 2, 4, true>(linear, plan, queue);
  else if (plan.large)
    launch_tiling<4, 4, 2, 4, false>(linear, plan, queue);
  else if (linear.grouped)
    launch_tiling<2, 4, 2, 2, true>(linear, plan, queue);
  else
    launch_tiling<2, 4, 2, 2, false>(linear, plan, queue);
}

}  // namespace octet::kernels::cuda

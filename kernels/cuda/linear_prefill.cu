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
  static constexpr int stage_bytes = 16 * pieces;
  static constexpr int copies = pieces / threads;  // of a thread
  static_assert(pieces % threads == 0 && weight_pieces % threads == 0);
  static_assert(prefill_stages * stage_bytes <= max_shared_bytes);
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
        lane_(threadIdx.x % 32) {}

  __device__ void run() {
    Copies<T::copies> copies;
#pragma unroll
    for (int stage = 0; stage < prefill_stages - 1; ++stage) {
      if (stage < chunks_) {
        start_copies(copies, stage);
        copies.store();
      }
      commit_copies();
    }
    for (int chunk = 0; chunk < chunks_; ++chunk) {
      wait_copies<prefill_stages - 2>();
      __syncthreads();
      const int ahead = chunk + prefill_stages - 1;
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
    char* stage = shared_ + chunk % prefill_stages * T::stage_bytes;
    const auto* weight = static_cast<const uint4*>(a_.weight);
    const int64_t stride = activation_stride(a_.k);
#pragma unroll
    for (int i = 0; i < T::copies; ++i) {
      const int piece = static_cast<int>(threadIdx.x) + i * T::threads;
      if (i * T::threads < T::weight_pieces) {
        const int64_t tile = min(first_tile_ + piece / 64, a_.n_tiles - 1);
        copies.start(i, stage + piece * 16, weight + (tile * chunks_ + chunk) * 64 + piece % 64);
      } else {
        const int of_rows = piece - T::weight_pieces;
        const int64_t row = min(first_row_ + of_rows / 4, a_.rows - 1);
        copies.start(i, stage + piece * 16,
                     a_.x.values + row * stride + chunk * chunk_k + of_rows % 4 * 16);
      }
    }
  }

  __device__ void multiply(int chunk) {
    const char* stage = shared_ + chunk % prefill_stages * T::stage_bytes;
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
#pragma unroll
    for (int t = 0; t < warp_tiles; ++t)
#pragma unroll
      for (int c = 0; c < warp_columns; ++c)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (inside(row(c, i), channel(t, i)))
            values_[t][c][i] = add_group(a_, row(c, i), channel(t, i), groups, group,
                                         sums_[t][c][i], values_[t][c][i]);
          sums_[t][c][i] = 0;
        }
  }

  __device__ float value(int t, int c, int i) const {
    const float result =
        grouped ? values_[t][c][i] : dequantize(a_, row(c, i), channel(t, i), sums_[t][c][i]);
    return with_bias(a_, channel(t, i), result);
  }

  __device__ void store() const {
#pragma unroll
    for (int t = 0; t < warp_tiles; ++t)
#pragma unroll
      for (int c = 0; c < warp_columns; ++c)
#pragma unroll
        for (int i = 0; i < 2; ++i) {  // registers i and i + 2 are neighbouring channels of a row
          if (!inside(row(c, i), channel(t, i))) continue;
          float* out = a_.out + row(c, i) * a_.out_stride;
          if (a_.output == Output::silu_mul) {
            if (t % 2 == 1) continue;
            const int64_t at = channel(t, i) / 32 * 16 + channel(t, i) % 16;
            *reinterpret_cast<float2*>(out + at) =
                make_float2(silu_mul(value(t, c, i), value(t + 1, c, i)),
                            silu_mul(value(t, c, i + 2), value(t + 1, c, i + 2)));
            continue;
          }
          auto* at = reinterpret_cast<float2*>(out + channel(t, i));
          float2 result = make_float2(value(t, c, i), value(t, c, i + 2));
          if (a_.output == Output::add) {
            const float2 before = *at;
            result = make_float2(before.x + result.x, before.y + result.y);
          }
          *at = result;
        }
  }

  const Linear& a_;
  char* shared_;
  int chunks_;
  int64_t first_tile_, first_row_;
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
          prefill_stages * T::stage_bytes},
         queue, linear);
}

}  // namespace

void linear_prefill(const Linear& linear, const Queue& queue) {
  const PrefillPlan plan = plan_prefill(linear.rows, linear.n_tiles, queue.multiprocessors);
  // Groups need registers for their float values: twice the warps, each with half the tile.
  if (plan.large && linear.grouped)
    launch_tiling<4, 4, 2, 4, true>(linear, plan, queue);
  else if (plan.large)
    launch_tiling<4, 8, 2, 2, false>(linear, plan, queue);
  else if (linear.grouped)
    launch_tiling<2, 4, 2, 2, true>(linear, plan, queue);
  else
    launch_tiling<2, 4, 2, 2, false>(linear, plan, queue);
}

}  // namespace octet::kernels::cuda

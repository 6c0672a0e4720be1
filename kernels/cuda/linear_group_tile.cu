// The decode multiplication of one row with groups where a block has one tile (q, k, v and o): its
// warps have it in registers before the input is there.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_groups.cuh"
#include "kernels/cuda/quantize_row.cuh"

#ifdef __NVCC__
#pragma nv_diag_suppress 177  // before sm_90 nothing of it is used
#endif

namespace octet::kernels::cuda {
namespace {

struct Parameters {
  Linear linear;
  RowSource source;
};

/// A warp's chunks of the tile.
template <int warp_chunks>
class HeldTile {
 public:
  __device__ explicit HeldTile(const Linear& a) {
    const auto chunks = static_cast<int>(num_chunks(a.k)), first = warp() * warp_chunks;
    const auto* from = static_cast<const uint4*>(a.weight) +
                       (static_cast<int64_t>(blockIdx.x) * chunks + first) * 64 + lane();
#pragma unroll
    for (int c = 0; c < warp_chunks; ++c)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        chunk_[c][half] =
            first + c < chunks ? load_once(from + c * 64 + half * 32) : make_uint4(0, 0, 0, 0);
  }

  /// The warp's sums, [16 channels][2 groups]. x: zero behind the row.
  __device__ void multiply(const int8_t* x, int* sums) const {
    const auto* row = reinterpret_cast<const uint4*>(x) + warp() * warp_chunks * 4 + lane() % 4;
    GroupProduct product(warp() * warp_chunks % 2);
#pragma unroll
    for (int c = 0; c < warp_chunks; ++c) product.add(c, chunk_[c][0], chunk_[c][1], row + c * 4);
    if (lane() % 4 == 0)
      reinterpret_cast<int4*>(sums)[warp() * 8 + lane() / 4] = product.of_two_channels();
  }

 private:
  __device__ static int warp() {
    return static_cast<int>(threadIdx.x) / 32;
  }
  __device__ static int lane() {
    return static_cast<int>(threadIdx.x) % 32;
  }
  uint4 chunk_[warp_chunks][2];
};

/// A weight's scale, of a group and channel, a thread: times the row's in memory, [channel][group].
template <int warp_chunks>
class TileScales {
 public:
  static constexpr int groups = block_warps * warp_chunks / 2,
                       stride = groups / 4 % 2 ? groups + 8
                                               : groups + 4;  // words, an odd number of 16 bytes
  static_assert(groups * 16 <= block_threads && groups % 4 == 0);
  __device__ explicit TileScales(const Linear& a)
      : there_(group() < static_cast<int>(num_groups(a.k))) {
    if (there_)
      scale_ = group_scale(a.scale, static_cast<int64_t>(blockIdx.x) * 16 + channel(),
                           num_groups(a.k), group());
  }
  __device__ void store(const float* x_scale, float* shared) const {
    if (there_) shared[channel() * stride + group()] = x_scale[group()] * scale_;
  }

 private:
  __device__ static int group() { return static_cast<int>(threadIdx.x) / 16; }
  __device__ static int channel() { return static_cast<int>(threadIdx.x) % 16; }
  bool there_;
  float scale_ = 0;
};

/// A channel's product: groups in rising order (add_group()).
template <int warp_chunks>
__device__ inline float product_of(const int* sums, const float* scales, int channel, int groups) {
  using Scales = TileScales<warp_chunks>;
  const auto* of_warps = reinterpret_cast<const int2*>(sums) + channel;
  float scale[Scales::groups], value = 0;
#pragma unroll
  for (int i = 0; i < Scales::groups / 4; ++i) {
    const float4 four = reinterpret_cast<const float4*>(scales + channel * Scales::stride)[i];
    scale[4 * i] = four.x, scale[4 * i + 1] = four.y;
    scale[4 * i + 2] = four.z, scale[4 * i + 3] = four.w;
  }
#pragma unroll
  for (int warp = 0, group = 0; warp < block_warps; warp += 2) {
    const int2 first = of_warps[warp * 16], second = of_warps[(warp + 1) * 16];
    const auto add = [&](int sum) {
      if (group < groups) value = fmaf(static_cast<float>(sum), scale[group], value);
      ++group;
    };
    add(first.x);
    if constexpr (warp_chunks == 3) {
      add(first.y + second.x);  // a half each
      add(second.y);
    } else {
      if constexpr (warp_chunks == 4) add(first.y);
      add(second.x);
      if constexpr (warp_chunks == 4) add(second.y);
    }
  }
  return value;
}

template <int warp_chunks>
__device__ inline void work(Parameters& p) {
  Linear& a = p.linear;
  p.source.planes = 1;
  constexpr int row_bytes = block_warps * warp_chunks * int{chunk_k};
  char* const memory = dynamic_shared<char>();
  a.x.values = reinterpret_cast<int8_t*>(memory + exchange_bytes(block_threads));
  a.x.scale = reinterpret_cast<float*>(a.x.values + row_bytes);
  auto* const sums = reinterpret_cast<int*>(memory);
  auto* const scales = reinterpret_cast<float*>(sums + block_warps * 32);
  const HeldTile<warp_chunks> tile(a);
  const TileScales<warp_chunks> tile_scales(a);
  const FirstNorms norms(p.source);
  const int channel = static_cast<int>(blockIdx.x * 16 + threadIdx.x % 16);
  const float bias = bias_of(a, channel);
  for (int i = static_cast<int>(activation_stride(a.k)) / 16 + static_cast<int>(threadIdx.x);
       i < row_bytes / 16; i += block_threads)
    reinterpret_cast<uint4*>(a.x.values)[i] = make_uint4(0, 0, 0, 0);
  wait_previous_kernels();
  const float before = before_output(a, channel);
  quantize_row<true, short_held, true>(p.source, 0, 1, norms, reinterpret_cast<float4*>(memory),
                                       a.x);
  tile_scales.store(a.x.scale, scales);
  tile.multiply(a.x.values, sums);
  sync_workers();
  if (threadIdx.x >= 32) return;
  const auto groups = static_cast<int>(num_groups(a.k));
  store_product(a, product_of<warp_chunks>(sums, scales, channel % 16, groups), bias, before,
                channel, threadIdx.x < 16);
}

template <int warp_chunks>
__global__ void __launch_bounds__(block_threads, 3) linear_group_tile_kernel(Parameters p) {
  allow_next_kernel();
  if constexpr (code_architecture >= 90) work<warp_chunks>(p);
}

}  // namespace

void linear_group_tile(const Linear& linear, const RowSource& source, const DecodePlan& plan,
                       const Queue& queue) {
  static_assert(max_tile_chunks == 4);
  const auto kernel = plan.unit_chunks == 2   ? linear_group_tile_kernel<2>
                      : plan.unit_chunks == 3 ? linear_group_tile_kernel<3>
                                              : linear_group_tile_kernel<4>;
  launch(kernel, {dim3(extent(plan.blocks)), block_threads, plan.shared_bytes}, queue,
         Parameters{linear, source});
}

}  // namespace octet::kernels::cuda

// Matrix multiplication for few rows: bound by reading the weights. A block of 8 warps computes
// one or two tiles of 16 channels at a time; the warps share out K, and each weight goes once from
// memory to a register and from there to the tensor cores, for up to 32 rows (mma has columns for
// 8, so the rows up to 8 cost nothing). Blocks stay and take tile after tile.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_output.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {
namespace {

/// Sums of a tile of 16 channels x 8 rows.
constexpr int tile_sums = 128;

struct Parameters {
  Linear linear;
  RowSource source;  // where fused
  bool fused;
};

/// Channel and row within a tile of the sum at `index`: lane major, then the lane's 4 registers.
struct Place {
  int row, channel;
  __device__ explicit Place(int index)
      : row(index / 4 % 4 * 2 + index % 2), channel(index / 16 * 2 + index / 2 % 2) {}
};

/// The weights that a lane has or waits for: `depth` chunks of each tile.
template <int tiles, int depth>
struct Weights {
  uint4 fragment[depth][tiles][2];

  __device__ void load(int slot, const Linear& a, int64_t first_tile, int chunk, int chunks) {
    const auto* words = static_cast<const uint4*>(a.weight) + threadIdx.x % 32;
#pragma unroll
    for (int t = 0; t < tiles; ++t) {
      const bool there = chunk < chunks && first_tile + t < a.n_tiles;
      const uint4* from = words + ((first_tile + t) * chunks + chunk) * 64;
      fragment[slot][t][0] = there ? load_streaming(from) : make_uint4(0, 0, 0, 0);
      fragment[slot][t][1] = there ? load_streaming(from + 32) : make_uint4(0, 0, 0, 0);
    }
  }
};

/// sums += weights x activations, of one chunk at `depth_index` of the weights.
template <int tiles, int columns, int depth>
__device__ inline void multiply_chunk(const Weights<tiles, depth>& weights, int depth_index,
                                      const Linear& a, int chunk, int (&sums)[tiles][columns][4]) {
  const int lane = threadIdx.x % 32;
  const int64_t stride = activation_stride(a.k);
#pragma unroll
  for (int c = 0; c < columns; ++c) {
    const int row = 8 * c + lane / 4;
    uint4 x = make_uint4(0, 0, 0, 0);
    if (row < a.rows)
      x = *reinterpret_cast<const uint4*>(a.x.values + row * stride + chunk * chunk_k +
                                          lane % 4 * 16);
#pragma unroll
    for (int t = 0; t < tiles; ++t) {
      mma_s8(sums[t][c], weights.fragment[depth_index][t][0], x.x, x.y);
      mma_s8(sums[t][c], weights.fragment[depth_index][t][1], x.z, x.w);
    }
  }
}

/// Takes a warp through the chunks of a tile, `depth` of them at a time: what is multiplied makes
/// room at once for what comes `depth` chunks later, the next tile's in the end.
/// chunk_of(i): the warp's chunk i, at least `chunks` where there is none.
template <int tiles, int depth, class ChunkOf>
class Feed {
 public:
  __device__ Feed(const Linear& a, int64_t tile, ChunkOf chunk_of)
      : a_(a), chunk_of_(chunk_of), chunks_(static_cast<int>(num_chunks(a.k))) {
#pragma unroll
    for (int slot = 0; slot < depth; ++slot)
      weights_.load(slot, a_, tile, chunk_of_(slot), chunks_);
  }

  /// sums += chunks first to first + depth - 1 of the tile. last: the next tile's weights follow.
  template <int columns>
  __device__ void multiply(int64_t tile, int first, bool last, int (&sums)[tiles][columns][4]) {
    const int64_t next = last ? tile + int64_t{tiles} * gridDim.x : tile;
#pragma unroll
    for (int slot = 0; slot < depth; ++slot) {
      if (const int chunk = chunk_of_(first + slot); chunk < chunks_)
        multiply_chunk(weights_, slot, a_, chunk, sums);
      weights_.load(slot, a_, next, chunk_of_(last ? slot : first + slot + depth), chunks_);
    }
  }

 private:
  const Linear& a_;
  ChunkOf chunk_of_;
  int chunks_;
  Weights<tiles, depth> weights_;
};

/// This warp's sums into its part of shared memory: [warp][tile][column][lane][4].
template <int tiles, int columns>
__device__ inline void share_sums(const int (&sums)[tiles][columns][4], int* shared) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  auto* to = reinterpret_cast<int4*>(shared) + warp * tiles * columns * 32 + lane;
#pragma unroll
  for (int t = 0; t < tiles; ++t)
#pragma unroll
    for (int c = 0; c < columns; ++c)
      to[(t * columns + c) * 32] =
          make_int4(sums[t][c][0], sums[t][c][1], sums[t][c][2], sums[t][c][3]);
}

template <int tiles>
__device__ inline void store_values(const Linear& a, int64_t first_tile, int64_t row, int channel,
                                    const float (&values)[tiles]) {
  if (row >= a.rows) return;
  float* out = a.out + row * a.out_stride;
  if (a.output == Output::silu_mul) {
    if constexpr (tiles == 2)
      out[first_tile / 2 * 16 + channel] =
          silu_mul(with_bias(a, first_tile * 16 + channel, values[0]),
                   with_bias(a, (first_tile + 1) * 16 + channel, values[1]));
    return;
  }
#pragma unroll
  for (int t = 0; t < tiles; ++t) {
    if (first_tile + t >= a.n_tiles) return;
    const int64_t at = (first_tile + t) * 16 + channel;
    const float value = with_bias(a, at, values[t]);
    out[at] = a.output == Output::add ? out[at] + value : value;
  }
}

/// Results that a thread stores: each with all tiles.
constexpr int thread_places(int columns) {
  return (columns * tile_sums + block_threads - 1) / block_threads;
}

/// One scale a channel and a row: the warps' sums over their chunks are added at the end.
template <int tiles, int columns, class Prepare>
__device__ inline void multiply_per_channel(const Linear& a, int* shared, Prepare prepare) {
  constexpr int depth = tiles == 1 ? 6 : 3;
  const int warp = threadIdx.x / 32;
  const int warp_chunks = static_cast<int>(ceil_div(num_chunks(a.k), block_warps));
  const auto chunk_of = [=](int i) { return i * block_warps + warp; };
  int64_t tile = blockIdx.x * int64_t{tiles};
  Feed<tiles, depth, decltype(chunk_of)> feed(a, tile, chunk_of);
  prepare();
  for (; tile < a.n_tiles; tile += int64_t{tiles} * gridDim.x) {
    int sums[tiles][columns][4] = {};
    for (int first = 0; first < warp_chunks; first += depth)
      feed.multiply(tile, first, first + depth >= warp_chunks, sums);
    share_sums(sums, shared);
    __syncthreads();
#pragma unroll
    for (int p = 0; p < thread_places(columns); ++p) {
      const int index = static_cast<int>(threadIdx.x) + p * block_threads;
      if (index >= columns * tile_sums) break;
      const Place place(index % tile_sums);
      const int64_t row = index / tile_sums * 8 + place.row;
      if (row >= a.rows) continue;
      float values[tiles];
#pragma unroll
      for (int t = 0; t < tiles; ++t) {
        int sum = 0;
#pragma unroll
        for (int w = 0; w < block_warps; ++w)
          sum += shared[(w * tiles + t) * columns * tile_sums + index];
        const int64_t channel = (tile + t) * 16 + place.channel;
        values[t] = tile + t < a.n_tiles ? dequantize(a, row, channel, sum) : 0.0f;
      }
      store_values(a, tile, row, place.channel, values);
    }
    __syncthreads();
  }
}

/// Scales by groups of K: in each pass a warp sums one group, and then the groups of the pass are
/// added to the values in rising order.
template <int tiles, int columns, class Prepare>
__device__ inline void multiply_grouped(const Linear& a, int* shared, Prepare prepare) {
  constexpr int depth = group_size / chunk_k;
  const int warp = threadIdx.x / 32, groups = static_cast<int>(num_groups(a.k));
  const auto chunk_of = [=](int i) { return (i / depth * block_warps + warp) * depth + i % depth; };
  int64_t tile = blockIdx.x * int64_t{tiles};
  Feed<tiles, depth, decltype(chunk_of)> feed(a, tile, chunk_of);
  prepare();
  for (; tile < a.n_tiles; tile += int64_t{tiles} * gridDim.x) {
    float values[thread_places(columns)][tiles] = {};
    for (int pass = 0; pass * block_warps < groups; ++pass) {
      int sums[tiles][columns][4] = {};
      feed.multiply(tile, pass * depth, (pass + 1) * block_warps >= groups, sums);
      share_sums(sums, shared);
      __syncthreads();
#pragma unroll
      for (int p = 0; p < thread_places(columns); ++p) {
        const int index = static_cast<int>(threadIdx.x) + p * block_threads;
        const Place place(index % tile_sums);
        const int64_t row = index / tile_sums * 8 + place.row;
        if (index >= columns * tile_sums || row >= a.rows) break;
#pragma unroll
        for (int t = 0; t < tiles; ++t)
          for (int w = 0; w < block_warps && pass * block_warps + w < groups; ++w)
            if (tile + t < a.n_tiles)
              values[p][t] =
                  add_group(a, row, (tile + t) * 16 + place.channel, groups, pass * block_warps + w,
                            shared[(w * tiles + t) * columns * tile_sums + index], values[p][t]);
      }
      __syncthreads();
    }
#pragma unroll
    for (int p = 0; p < thread_places(columns); ++p) {
      const int index = static_cast<int>(threadIdx.x) + p * block_threads;
      const Place place(index % tile_sums);
      if (index < columns * tile_sums)
        store_values(a, tile, index / tile_sums * 8 + place.row, place.channel, values[p]);
    }
  }
}

template <int tiles, int columns, bool grouped>
__global__ void __launch_bounds__(block_threads, decode_blocks) linear_decode_kernel(Parameters p) {
  int* shared = dynamic_shared<int>();
  allow_next_kernel();
  // The first weights are on their way while the kernel before still works on the activations.
  const auto prepare = [&] {
    wait_previous_kernels();
    if (!p.fused) return;
    // Every block quantizes the rows for itself, behind its sums in shared memory.
    auto* values = reinterpret_cast<int8_t*>(shared + block_warps * tiles * columns * tile_sums);
    const int64_t stride = activation_stride(p.source.k);
    auto* scale = reinterpret_cast<float*>(values + p.linear.rows * stride);
    const int64_t row_scales = grouped ? num_groups(p.source.k) : 1;
    for (int64_t row = 0; row < p.linear.rows; ++row)
      quantize_row<grouped>(p.source, row, values + row * stride, scale + row * row_scales);
    p.linear.x = {values, scale};
  };
  if constexpr (grouped)
    multiply_grouped<tiles, columns>(p.linear, shared, prepare);
  else
    multiply_per_channel<tiles, columns>(p.linear, shared, prepare);
}

template <int tiles, int columns>
auto kernel_for(bool grouped) {
  return grouped ? linear_decode_kernel<tiles, columns, true>
                 : linear_decode_kernel<tiles, columns, false>;
}
template <int tiles>
auto kernel_for(int columns, bool grouped) {
  return columns == 1   ? kernel_for<tiles, 1>(grouped)
         : columns == 2 ? kernel_for<tiles, 2>(grouped)
                        : kernel_for<tiles, 4>(grouped);
}

}  // namespace

void linear_decode(const Linear& linear, const RowSource* fused, const Queue& queue) {
  const DecodePlan plan =
      plan_decode(linear.rows, linear.n_tiles, linear.output == Output::silu_mul,
                  fused ? linear.k : 0, queue.multiprocessors);
  const Parameters parameters{linear, fused ? *fused : RowSource{}, fused != nullptr};
  launch(plan.tiles == 2 ? kernel_for<2>(plan.columns, linear.grouped)
                         : kernel_for<1>(plan.columns, linear.grouped),
         {dim3(extent(plan.blocks)), block_threads, plan.shared_bytes}, queue, parameters);
}

}  // namespace octet::kernels::cuda

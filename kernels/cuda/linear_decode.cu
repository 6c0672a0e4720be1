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

/// This lane's activations of one chunk: zeros where there is no such row or chunk.
template <int columns>
struct Inputs {
  uint4 x[columns];

  __device__ void load(const Linear& a, int chunk, int chunks) {
    const int lane = threadIdx.x % 32;
    const int64_t stride = activation_stride(a.k);
#pragma unroll
    for (int c = 0; c < columns; ++c) {
      const int row = 8 * c + lane / 4;
      x[c] = row < a.rows && chunk < chunks
                 ? *reinterpret_cast<const uint4*>(a.x.values + row * stride + chunk * chunk_k +
                                                   lane % 4 * 16)
                 : make_uint4(0, 0, 0, 0);
    }
  }
};

/// sums += weights x activations, of the chunk at `slot` of the weights.
template <int tiles, int columns, int depth>
__device__ inline void multiply_chunk(const Weights<tiles, depth>& weights, int slot,
                                      const Inputs<columns>& inputs,
                                      int (&sums)[tiles][columns][4]) {
#pragma unroll
  for (int c = 0; c < columns; ++c)
#pragma unroll
    for (int t = 0; t < tiles; ++t) {
      mma_s8(sums[t][c], weights.fragment[slot][t][0], inputs.x[c].x, inputs.x[c].y);
      mma_s8(sums[t][c], weights.fragment[slot][t][1], inputs.x[c].z, inputs.x[c].w);
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
    // All of them are asked for at once where registers allow it.
    constexpr int ahead = columns == 1 ? depth : 1;
    Inputs<columns> inputs[ahead];
#pragma unroll
    for (int slot = 0; slot < depth; ++slot) {
      if (slot % ahead == 0)
#pragma unroll
        for (int i = 0; i < ahead; ++i) inputs[i].load(a_, chunk_of_(first + slot + i), chunks_);
      multiply_chunk(weights_, slot, inputs[slot % ahead], sums);
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

/// Results that a thread stores: each with all tiles.
constexpr int thread_places(int columns) {
  return (columns * tile_sums + block_threads - 1) / block_threads;
}
// A thread's places have the same channel, and rows 16 apart.
static_assert(block_threads % tile_sums == 0 && max_fused_rows <= 8);

/// What a thread needs to make outputs of sums, asked for before the sums are there.
template <int tiles, int columns>
struct Outputs {
  int64_t tile;
  int channel, row, index;
  float bias[tiles];
  float before[thread_places(columns)][tiles];  // where the result is added

  __device__ Outputs(const Linear& a, int64_t first_tile)
      : tile(first_tile),
        channel(Place(static_cast<int>(threadIdx.x) % tile_sums).channel),
        row(static_cast<int>(threadIdx.x) / tile_sums * 8 +
            Place(static_cast<int>(threadIdx.x) % tile_sums).row),
        index(static_cast<int>(threadIdx.x)) {
#pragma unroll
    for (int t = 0; t < tiles; ++t) bias[t] = there(a, t) ? bias_of(a, channel_of(t)) : 0.0f;
  }
  /// Once the kernels before have ended.
  __device__ void load_before(const Linear& a) {
#pragma unroll
    for (int p = 0; p < thread_places(columns); ++p)
#pragma unroll
      for (int t = 0; t < tiles; ++t)
        before[p][t] = a.output == Output::add && wanted(a, p) && there(a, t)
                           ? a.out[row_of(p) * a.out_stride + channel_of(t)]
                           : 0.0f;
  }

  __device__ bool there(const Linear& a, int t) const {
    return tile + t < a.n_tiles;
  }
  __device__ int64_t channel_of(int t) const {
    return (tile + t) * 16 + channel;
  }
  __device__ int64_t row_of(int p) const {
    return row + p * (block_threads / tile_sums * 8);
  }
  __device__ bool wanted(const Linear& a, int p) const {
    return index + p * block_threads < columns * tile_sums && row_of(p) < a.rows;
  }

  __device__ void store(const Linear& a, int p, const float (&values)[tiles]) const {
    float* out = a.out + row_of(p) * a.out_stride;
    if (a.output == Output::silu_mul) {
      if constexpr (tiles == 2)
        out[tile / 2 * 16 + channel] =
            silu_mul(with_bias(a, bias[0], values[0]), with_bias(a, bias[1], values[1]));
      return;
    }
#pragma unroll
    for (int t = 0; t < tiles; ++t) {
      if (!there(a, t)) return;
      const float value = with_bias(a, bias[t], values[t]);
      out[channel_of(t)] = a.output == Output::add ? before[p][t] + value : value;
    }
  }
};

/// The places of the warps' sums in turns, so that one barrier a turn is enough.
template <int tiles, int columns>
class Turns {
 public:
  static constexpr int buffers = decode_buffers(tiles, columns);
  static constexpr int sums = block_warps * tiles * columns * tile_sums;  // of one turn
  __device__ explicit Turns(int* shared) : shared_(shared) {}
  /// Where this turn's sums are, after every warp has put its own there.
  __device__ const int* share(const int (&of_warp)[tiles][columns][4]) {
    if (buffers == 1) __syncthreads();
    int* turn = shared_ + turn_++ % buffers * sums;
    share_sums(of_warp, turn);
    __syncthreads();
    return turn;
  }

 private:
  int* shared_;
  int turn_ = 0;
};

/// One scale a channel and a row: the warps' sums over their chunks are added at the end.
template <int tiles, int columns, class Prepare>
__device__ inline void multiply_per_channel(const Linear& a, int* shared, Prepare prepare) {
  constexpr int depth = tiles == 1 ? 6 : 3;
  const int warp = threadIdx.x / 32;
  const int warp_chunks = static_cast<int>(ceil_div(num_chunks(a.k), block_warps));
  const auto chunk_of = [=](int i) { return i * block_warps + warp; };
  int64_t tile = blockIdx.x * int64_t{tiles};
  Feed<tiles, depth, decltype(chunk_of)> feed(a, tile, chunk_of);
  Turns<tiles, columns> turns(shared);
  for (bool first_tile = true; tile < a.n_tiles; tile += int64_t{tiles} * gridDim.x) {
    Outputs<tiles, columns> outputs(a, tile);
    float scale[tiles];
#pragma unroll
    for (int t = 0; t < tiles; ++t)
      scale[t] = outputs.there(a, t) ? channel_scale(a, outputs.channel_of(t)) : 0.0f;
    if (first_tile) prepare();
    first_tile = false;
    outputs.load_before(a);
    int sums[tiles][columns][4] = {};
    for (int first = 0; first < warp_chunks; first += depth)
      feed.multiply(tile, first, first + depth >= warp_chunks, sums);
    const int* all = turns.share(sums);
#pragma unroll
    for (int p = 0; p < thread_places(columns); ++p) {
      if (!outputs.wanted(a, p)) break;
      const float x_scale = a.x.scale[outputs.row_of(p)];
      float values[tiles];
#pragma unroll
      for (int t = 0; t < tiles; ++t) {
        int sum = 0;
#pragma unroll
        for (int w = 0; w < block_warps; ++w)
          sum += all[(w * tiles + t) * columns * tile_sums + outputs.index + p * block_threads];
        values[t] = dequantize(sum, x_scale, scale[t]);
      }
      outputs.store(a, p, values);
    }
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
  Turns<tiles, columns> turns(shared);
  for (bool first_tile = true; tile < a.n_tiles; tile += int64_t{tiles} * gridDim.x) {
    Outputs<tiles, columns> outputs(a, tile);
    if (first_tile) prepare();
    first_tile = false;
    outputs.load_before(a);
    float values[thread_places(columns)][tiles] = {};
    for (int first_group = 0; first_group < groups; first_group += block_warps) {
      float scale[block_warps][tiles];
#pragma unroll
      for (int w = 0; w < block_warps; ++w)
#pragma unroll
        for (int t = 0; t < tiles; ++t)
          scale[w][t] = first_group + w < groups && outputs.there(a, t)
                            ? group_scale(a, outputs.channel_of(t), groups, first_group + w)
                            : 0.0f;
      int sums[tiles][columns][4] = {};
      feed.multiply(tile, first_group / block_warps * depth, first_group + block_warps >= groups,
                    sums);
      const int* all = turns.share(sums);
#pragma unroll
      for (int p = 0; p < thread_places(columns); ++p) {
        if (!outputs.wanted(a, p)) break;
        const float* x_scale = a.x.scale + outputs.row_of(p) * groups + first_group;
#pragma unroll
        for (int w = 0; w < block_warps; ++w) {
          if (first_group + w >= groups) break;
#pragma unroll
          for (int t = 0; t < tiles; ++t)
            values[p][t] = add_group(
                all[(w * tiles + t) * columns * tile_sums + outputs.index + p * block_threads],
                x_scale[w], scale[w][t], values[p][t]);
        }
      }
    }
#pragma unroll
    for (int p = 0; p < thread_places(columns); ++p)
      if (outputs.wanted(a, p)) outputs.store(a, p, values[p]);
  }
}

template <int tiles, int columns, bool grouped>
__global__ void __launch_bounds__(block_threads, decode_blocks) linear_decode_kernel(Parameters p) {
  int* shared = dynamic_shared<int>();
  allow_next_kernel();
  // The first weights are on their way while the kernel before still works on the activations.
  const auto prepare = [&] {
    if constexpr (columns > 1) {
      wait_previous_kernels();
    } else {
      const FirstNorms norms(p.source);
      wait_previous_kernels();
      if (!p.fused) return;
      // Every block quantizes the rows for itself, behind its sums in shared memory.
      constexpr int held = tiles == 1 ? 5 : 2;  // more would not fit beside the weights
      using Sums = Turns<tiles, columns>;
      auto* values = reinterpret_cast<int8_t*>(shared + Sums::buffers * Sums::sums);
      const int64_t stride = activation_stride(p.source.k);
      auto* scale = reinterpret_cast<float*>(values + p.linear.rows * stride);
      const int64_t row_scales = grouped ? num_groups(p.source.k) : 1;
      for (int64_t row = 0; row < p.linear.rows; ++row)
        quantize_row<grouped, held>(p.source, row, norms, values + row * stride,
                                    scale + row * row_scales);
      p.linear.x = {values, scale};
    }
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

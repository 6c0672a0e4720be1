// Matrix multiplication for few rows: bound by reading the weights. A block of 8 warps computes a
// tile of 16 channels at a time; the warps share out K, and each weight goes once from memory
// through a thread's own place in shared memory to the tensor cores, for up to 32 rows (mma has
// columns for 8, so the rows up to 8 cost nothing). Blocks stay and take tile after tile.
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
  bool staged;
};

/// This warp's chunks of a tile. In runs of `run` (the chunks that share a scale) the warps take
/// turns.
template <int run>
struct WarpChunks {
  int chunks;
  __device__ explicit WarpChunks(const Linear& a) : chunks(static_cast<int>(num_chunks(a.k))) {}
  __device__ static int first() { return static_cast<int>(threadIdx.x) / 32 * run; }
  __device__ int after(int chunk) const {
    return (chunk + 1) % run != 0 && chunk + 1 < chunks ? chunk + 1
                                                        : (chunk / run + block_warps) * run;
  }
};

/// Brings the weights of this warp's chunks, tile after tile, `slots` chunks ahead of their use.
/// Each thread copies what it will read itself, so that no barrier is needed.
template <int slots, int run>
class Feed {
 public:
  __device__ Feed(const Linear& a, uint4* shared)
      : a_(a), warp_chunks_(a), shared_(shared + threadIdx.x), tile_(blockIdx.x), chunk_(0) {
    chunk_ = warp_chunks_.first();
    if (chunk_ >= warp_chunks_.chunks) tile_ = a.n_tiles;  // none for this warp
#pragma unroll
    for (int i = 0; i < slots; ++i) {
      start();
      store();
    }
  }

  /// This lane's words of the next chunk.
  __device__ void take(uint4 (&weights)[2]) {
    wait_copies<slots - 1>();
    weights[0] = place()[0];
    weights[1] = place()[block_threads];
    store();
  }
  /// Once what was taken is used: its place is filled again.
  __device__ void refill() {
    start();
  }

 private:
  __device__ void store() {
    if (started_) copies_.store();
    started_ = false;
  }
  __device__ uint4* place() const {
    return shared_ + slot_ * 2 * block_threads;
  }
  __device__ void start() {
    if (tile_ < a_.n_tiles) {
      const uint4* from = static_cast<const uint4*>(a_.weight) +
                          (tile_ * warp_chunks_.chunks + chunk_) * 64 + threadIdx.x % 32;
      copies_.start(0, place(), from);
      copies_.start(1, place() + block_threads, from + 32);
      started_ = true;
      chunk_ = warp_chunks_.after(chunk_);
      if (chunk_ >= warp_chunks_.chunks) {
        chunk_ = warp_chunks_.first();
        tile_ += gridDim.x;
      }
    }
    commit_copies();
    slot_ = slot_ + 1 == slots ? 0 : slot_ + 1;
  }

  const Linear& a_;
  WarpChunks<run> warp_chunks_;
  uint4* shared_;
  int64_t tile_;  // of the next chunk to ask for
  int chunk_, slot_ = 0;
  Copies<2> copies_;
  bool started_ = false;
};

/// sums += the next chunk's weights x activations.
template <int columns, int slots, int run>
__device__ inline void multiply_chunk(const Linear& a, Feed<slots, run>& feed, int chunk,
                                      int (&sums)[columns][4]) {
  const int lane = threadIdx.x % 32, rows = static_cast<int>(a.rows) * a.planes;
  uint4 weights[2];
  feed.take(weights);
#pragma unroll
  for (int c = 0; c < columns; ++c) {
    const int row = 8 * c + lane / 4;
    const uint4 x = row < rows ? *reinterpret_cast<const uint4*>(a.x.values + row * a.x.stride +
                                                                 chunk * chunk_k + lane % 4 * 16)
                               : make_uint4(0, 0, 0, 0);
    mma_s8(sums[c], weights[0], x.x, x.y);
    mma_s8(sums[c], weights[1], x.z, x.w);
  }
  feed.refill();
}

/// The warps' sums in shared memory: [warp][column][lane][4]. They come in turns, so that one
/// barrier a turn is enough.
template <int columns>
class SharedSums {
 public:
  __device__ explicit SharedSums(int* shared) : shared_(shared) {}

  /// Puts this warp's sums beside the others'.
  __device__ void share(const int (&of_warp)[columns][4]) {
    constexpr int buffers = decode_buffers(columns);
    if (buffers == 1) __syncthreads();
    turn_ = shared_ + number_++ % buffers * warp_sums * block_warps;
    auto* to = reinterpret_cast<int4*>(turn_ + threadIdx.x / 32 * warp_sums) + threadIdx.x % 32;
#pragma unroll
    for (int c = 0; c < columns; ++c)
      to[c * 32] = make_int4(of_warp[c][0], of_warp[c][1], of_warp[c][2], of_warp[c][3]);
    __syncthreads();
  }
  __device__ int of_warp(int warp, int row, int channel) const {
    return turn_[warp * warp_sums + row / 8 * tile_sums + (channel / 2 * 4 + row % 8 / 2) * 4 +
                 channel % 2 * 2 + row % 2];
  }
  __device__ int of_all(int row, int channel) const {
    int sum = 0;
#pragma unroll
    for (int w = 0; w < block_warps; ++w) sum += of_warp(w, row, channel);
    return sum;
  }

 private:
  static constexpr int warp_sums = columns * tile_sums;
  int *shared_, *turn_ = nullptr;
  int number_ = 0;
};

/// The outputs of a tile that a thread makes: of one channel, or of a gate and the up beside it, in
/// `places` rows.
template <int columns, bool grouped>
class Outputs {
  static constexpr int places = columns == 4 ? 2 : 1;

 public:
  /// Asks for what does not depend on the kernels before.
  __device__ Outputs(const Linear& a, int64_t tile) : a_(a), paired_(a.output == Output::silu_mul) {
    const int width = paired_ ? 8 : 16;
    row_ = static_cast<int>(threadIdx.x) / width;
    row_step_ = block_threads / width;
    channel_ = static_cast<int>(threadIdx.x) % width * (paired_ ? 2 : 1);
    first_channel_ = tile * 16 + channel_;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      bias_[i] = used(i) ? bias_of(a, first_channel_ + i) : 0.0f;
      if constexpr (!grouped) {
        scale_[i][0] = used(i) ? channel_scale(a.scale, first_channel_ + i) : 0.0f;
        scale_[i][1] =
            used(i) && a.planes > 1 ? channel_scale(a.rest_scale, first_channel_ + i) : 0.0f;
      }
    }
  }
  /// Once the kernels before have ended.
  __device__ void load_before() {
#pragma unroll
    for (int p = 0; p < places; ++p)
      before_[p] = a_.output == Output::add && there(p) ? *target(p) : 0.0f;
  }

  __device__ void add(const SharedSums<columns>& sums) {
    each([&](int p, int i, int plane, int row) {
      values_[p][i][plane] =
          dequantize(sums.of_all(row, channel_ + i), a_.x.scale[row], scale_[i][plane]);
    });
  }
  /// The sums of groups first, first + 1, ..., one a warp, are added in rising order.
  __device__ void add_groups(const SharedSums<columns>& sums, int first) {
    const int groups = static_cast<int>(num_groups(a_.k));
    each([&](int p, int i, int plane, int row) {
      const void* w = plane == 0 ? a_.scale : a_.rest_scale;
      float scale[block_warps];
#pragma unroll
      for (int g = 0; g < block_warps; ++g)
        scale[g] =
            first + g < groups ? group_scale(w, first_channel_ + i, groups, first + g) : 0.0f;
#pragma unroll
      for (int g = 0; g < block_warps; ++g)
        if (first + g < groups)
          values_[p][i][plane] =
              add_group(sums.of_warp(g, row, channel_ + i), a_.x.scale[row * groups + first + g],
                        scale[g], values_[p][i][plane]);
    });
  }

  __device__ void store() const {
#pragma unroll
    for (int p = 0; p < places; ++p) {
      if (!there(p)) return;
      if (paired_)
        *target(p) = silu_mul(value(p, 0), value(p, 1));
      else if (a_.output == Output::add)
        *target(p) = with_rest(p, 0, before_[p] + with_bias(a_, bias_[0], values_[p][0][0]));
      else
        *target(p) = value(p, 0);
    }
  }

 private:
  __device__ bool used(int i) const {
    return i == 0 || paired_;
  }
  __device__ int row(int p) const {
    return row_ + p * row_step_;
  }
  __device__ bool there(int p) const {
    return row(p) < a_.rows;
  }
  __device__ float* target(int p) const {
    return a_.out + row(p) * a_.out_stride + (paired_ ? first_channel_ / 2 : first_channel_);
  }
  __device__ float with_rest(int p, int i, float value) const {
    return a_.planes > 1 ? value + values_[p][i][1] : value;
  }
  __device__ float value(int p, int i) const {
    return with_rest(p, i, with_bias(a_, bias_[i], values_[p][i][0]));
  }
  /// visit(place, channel's number, plane, row of x) for each product that the outputs need.
  template <class Visit>
  __device__ void each(Visit visit) const {
#pragma unroll
    for (int p = 0; p < places; ++p) {
      if (!there(p)) return;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (!used(i)) break;
        visit(p, i, 0, row(p));
        if (a_.planes > 1) visit(p, i, 1, row(p) + static_cast<int>(a_.rows));
      }
    }
  }

  const Linear& a_;
  bool paired_;
  int row_, row_step_, channel_;
  int64_t first_channel_;
  float bias_[2], scale_[2][2], before_[places];
  float values_[places][2][2] = {};  // [gate, up][plane]
};

/// Goes through the block's tiles. prepare() makes the activations ready: until then nothing is
/// read that the kernels before write.
template <int columns, int slots, bool grouped, class Prepare>
__device__ inline void multiply_tiles(const Linear& a, uint4* ring, int* sums_memory,
                                      Prepare prepare) {
  constexpr int run = grouped ? group_size / chunk_k : 1;
  Feed<slots, run> feed(a, ring);
  const WarpChunks<run> warp_chunks(a);
  SharedSums<columns> shared(sums_memory);
  for (int64_t tile = blockIdx.x; tile < a.n_tiles; tile += gridDim.x) {
    Outputs<columns, grouped> outputs(a, tile);
    if (tile == blockIdx.x) prepare();
    outputs.load_before();
    int chunk = warp_chunks.first();
    if constexpr (grouped) {
      const int groups = static_cast<int>(num_groups(a.k));
      for (int first = 0; first < groups; first += block_warps) {
        int sums[columns][4] = {};
        for (int end = chunk + run; chunk < end && chunk < warp_chunks.chunks;
             chunk = warp_chunks.after(chunk))
          multiply_chunk<columns>(a, feed, chunk, sums);
        shared.share(sums);
        outputs.add_groups(shared, first);
      }
    } else {
      int sums[columns][4] = {};
      for (; chunk < warp_chunks.chunks; chunk = warp_chunks.after(chunk))
        multiply_chunk<columns>(a, feed, chunk, sums);
      shared.share(sums);
      outputs.add(shared);
    }
    outputs.store();
  }
}

/// Copies rows and their scales.
__device__ inline void copy_rows(const QuantizedRows& from, int rows, int64_t k, int row_scales,
                                 const QuantizedRows& to) {
  const int pieces = static_cast<int>(activation_stride(k) / 16);
  for (int i = threadIdx.x; i < rows * pieces; i += block_threads) {
    const int row = i / pieces, piece = i % pieces * 16;
    *reinterpret_cast<uint4*>(to.values + row * to.stride + piece) =
        *reinterpret_cast<const uint4*>(from.values + row * from.stride + piece);
  }
  for (int i = threadIdx.x; i < rows * row_scales; i += block_threads) to.scale[i] = from.scale[i];
  __syncthreads();
}

/// How a block quantizes its input: rows at a time, and four values of each that a thread holds in
/// registers. No rows: the input is quantized already.
template <int rows_in, int held_in>
struct Fused {
  static constexpr int rows = rows_in, held = held_in;
};
using NotFused = Fused<0, 0>;
using OneRow = Fused<1, 2>;
using LongRow = Fused<1, 9>;
using SeveralRows = Fused<4, 2>;

/// Blocks of one kernel and of those that start before it ends, on a multiprocessor.
constexpr int shared_by(int columns, bool grouped, int rows, int held) {
  return rows > 1 && grouped ? 1 : columns == 4 || rows * held > 2 ? 2 : 3;
}

template <int columns, int slots, bool grouped, class Fuse>
__global__ void __launch_bounds__(block_threads,
                                  shared_by(columns, grouped, Fuse::rows, Fuse::held))
    linear_decode_kernel(Parameters p) {
  allow_next_kernel();
  char* shared = dynamic_shared<char>();
  auto* sums = reinterpret_cast<int*>(shared + slots * decode_slot_bytes);
  const auto prepare = [&] {
    Linear& a = p.linear;
    const int rows = static_cast<int>(a.rows), all_rows = rows * a.planes;
    QuantizedRows x;
    x.values = reinterpret_cast<int8_t*>(sums) + decode_sum_bytes(columns);
    x.stride = staged_stride(a.k);
    x.scale = reinterpret_cast<float*>(x.values + all_rows * x.stride);
    if constexpr (Fuse::rows > 0) {
      const FirstNorms norms(p.source);
      wait_previous_kernels();
      for (int row = 0; row < rows; row += Fuse::rows)
        quantize_rows_of_block<grouped, Fuse::rows, Fuse::held>(
            p.source, row, min(rows - row, Fuse::rows), norms, x, rows);
    } else {
      wait_previous_kernels();
      if (!p.staged) return;
      copy_rows(a.x, all_rows, a.k, grouped ? static_cast<int>(num_groups(a.k)) : 1, x);
    }
    a.x = x;
  };
  multiply_tiles<columns, slots, grouped>(p.linear, reinterpret_cast<uint4*>(shared), sums,
                                          prepare);
}

template <int columns, bool grouped, class Fuse = NotFused>
auto kernel_for(int slots) {
  return slots == 2   ? linear_decode_kernel<columns, 2, grouped, Fuse>
         : slots == 4 ? linear_decode_kernel<columns, 4, grouped, Fuse>
                      : linear_decode_kernel<columns, 12, grouped, Fuse>;
}
template <bool grouped>
auto kernel_for(const DecodePlan& plan, const Linear& linear, bool fused) {
  if (fused && linear.rows > 1) return kernel_for<1, grouped, SeveralRows>(plan.slots);
  if (fused && linear.k > OneRow::held * 4 * block_threads)
    return kernel_for<1, grouped, LongRow>(plan.slots);
  if (fused) return kernel_for<1, grouped, OneRow>(plan.slots);
  return plan.columns == 1   ? kernel_for<1, grouped>(plan.slots)
         : plan.columns == 2 ? kernel_for<2, grouped>(plan.slots)
                             : kernel_for<4, grouped>(plan.slots);
}

}  // namespace

void linear_decode(const Linear& linear, const RowSource* fused, const Queue& queue) {
  const DecodePlan plan =
      plan_decode(linear.rows * linear.planes, linear.n_tiles, linear.k, linear.grouped,
                  queue.architecture, queue.multiprocessors, queue.shared_bytes);
  const Parameters parameters{linear, fused ? *fused : RowSource{}, plan.staged};
  launch(linear.grouped ? kernel_for<true>(plan, linear, fused != nullptr)
                        : kernel_for<false>(plan, linear, fused != nullptr),
         {dim3(extent(plan.blocks)), block_threads, plan.shared_bytes}, queue, parameters);
}

}  // namespace octet::kernels::cuda

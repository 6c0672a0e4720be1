// The decode multiplication of one long row (down) by groups of blocks that have a slice of it
// each: a team has its slice of one tile. Before the input is there, shared memory and registers
// have all weights.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_teams_slice.cuh"

#ifdef __NVCC__
#pragma nv_diag_suppress 177  // before sm_90 nothing of it is used
#endif

namespace octet::kernels::cuda {
namespace {

/// The warp's sums.
template <class Weights>
__device__ inline void multiply(const Weights& weights, const int8_t* x, int* sums) {
  const TeamPlace place;
  TeamProduct product;
  weights.each(x, true, [&](int, const uint4& first, const uint4& second, const uint4* values) {
    product.add(first, second, values, place.lane);
  });
  product.store(sums, place);
}

/// The largest magnitude of a row of which each block knows its slice's only, as it is rotated
/// there. Blocks that have slices of the same tiles leave theirs behind the words of
/// Linear::slice_sums, with a bit more, so that none is 0, and read until all are there. A block
/// waits for three neighbours, which start with it or when blocks before them end.
class MetPeaks {
  static constexpr uint32_t there = 0x80000000u;

 public:
  __device__ explicit MetPeaks(const Linear& a)
      : words_(reinterpret_cast<uint32_t*>(a.slice_sums + a.n_tiles * 16) +
               static_cast<int>(blockIdx.x) / row_slices * slice_peak_stride) {}

  /// The row's, of the slice's, for the threads that quantize. One reads for all: the more do, the
  /// later they see it (docs/performance/cuda.md).
  __device__ float of_row(float absmax) const {
    __shared__ uint32_t largest;
    if (threadIdx.x == 0) {
      store_shared_by_all(words_ + Slice::rank(), __float_as_uint(absmax) | there);
      store_relaxed(&largest, read());
    }
    sync_workers<slice_row_threads>();
    return __uint_as_float(load_relaxed(&largest));
  }
  /// By one thread, when all have read them.
  __device__ void clear() const { *reinterpret_cast<uint4*>(words_) = make_uint4(0, 0, 0, 0); }

 private:
  __device__ uint32_t read() const {
    uint4 v;
    do v = load_shared_by_all(reinterpret_cast<const uint4*>(words_));
    while ((v.x & v.y & v.z & v.w & there) == 0);
    return max(max(v.x, v.y), max(v.z, v.w)) & ~there;
  }
  uint32_t* words_;
};

/// What a team's tile becomes, a channel a lane of its first warp: what blocks have of it meets in
/// Linear::slice_sums, and who comes last has all. Any number of blocks may run at a time.
class MetOutput {
 public:
  __device__ MetOutput(const Linear& a, const SlicedTiles& tiles)
      : a_(a),
        channel_(static_cast<int>(tiles[place_.team]) * 16 + place_.lane % 16),
        has_(place_.team < tiles.count && place_.warp == 0 && place_.lane < 16) {
    if (!has_) return;
    scale_ = static_cast<const float*>(a.scale)[channel_];
    if (a.bias) bias_ = a.bias[channel_];
  }
  __device__ void ask() {
    if (has_) before_ = before_output(a_, channel_);
  }
  /// The team's sums; all lanes of its first warp take part. Returns whether the lane came last.
  __device__ bool store(const int* sums) const {
    // The upper half of a word counts; so that it is not borrowed from, no sum is negative.
    constexpr int offset = 1 << 28;
    static_assert(127ll * 128 * max_row_k < offset);
    auto* const all = reinterpret_cast<unsigned long long*>(a_.slice_sums) + channel_;
    bool last = false;
    int sum = TeamSums(sums).of_all(0, place_.lane % 16);
    if (has_) {
      const auto own = static_cast<uint32_t>(sum + offset);
      const unsigned long long others = atomicAdd(all, (1ull << 32) + own);
      last = others >> 32 == row_slices - 1;
      sum = static_cast<int>(static_cast<uint32_t>(others) + own -
                             row_slices * static_cast<uint32_t>(offset));
      if (last) *all = 0;
    }
    store_output(a_, sum, scale_, bias_, before_, channel_, last);
    return last;
  }

 private:
  const Linear& a_;
  TeamPlace place_;
  int channel_;
  bool has_;
  float scale_ = 0, bias_ = 0, before_ = 0;
};

/// What a block's teams have in common.
struct SliceBlock {
  const Linear& a;
  const RowSource& source;
  const SlicedTiles& tiles;
  int tile_bytes;
  char* stages;
  int slice_chunks;
  CopyBarrier *filled, *row_ready;
  uint32_t* hurried;
  int* sums;

  /// Waits until all warps have what they write of the row in shared memory.
  __device__ void wait_for_row() const {
    __syncwarp();
    if (threadIdx.x % 32 == 0) row_ready->arrive();
    row_ready->wait(0);
  }
};
template <int warp_chunks, bool quantizes>
using WeightsOfTeam =
    SliceWeights<warp_register_chunks(quantizes ? 0 : row_teams - 1),
                 warp_chunks - warp_register_chunks(quantizes ? 0 : row_teams - 1)>;

template <class Weights>
__device__ inline void read_weights(const SliceBlock& b, int team, Weights& weights) {
  if (team < b.tiles.count)
    weights.read(stage_of<slice_stage_chunks>(b.stages, b.slice_chunks, team), b.filled[team],
                 static_cast<const char*>(b.a.weight) + b.tiles[team] * b.tile_bytes);
}

/// All but the last team quantize. peaked: the row's largest magnitude is known.
template <int warp_chunks, bool peaked, bool quantizes>
__device__ inline void work_in_team(const SliceBlock& b) {
  const int team = TeamPlace().team;
  MetOutput output(b.a, b.tiles);
  WeightsOfTeam<warp_chunks, quantizes> weights;
  read_weights(b, team, weights);
  wait_previous_kernels();
  if constexpr (quantizes) {
    store_relaxed(b.hurried, 1);
    if constexpr (peaked)
      quantize_peaked_row<short_held, slice_row_threads>(b.source, b.a.x);
    else
      quantize_slice<short_held, slice_row_threads>(
          b.source, b.a.x, [&](float absmax) { return MetPeaks(b.a).of_row(absmax); });
  }
  output.ask();
  b.wait_for_row();
  if (team >= b.tiles.count) return;
  int* const sums = b.sums + TeamSums::words(team);
  multiply(weights, b.a.x.values, sums);
  sync_team(team);
  if (TeamPlace().warp > 0) return;
  const bool last = output.store(sums);
  if constexpr (!peaked)
    if (threadIdx.x == 0 && last) MetPeaks(b.a).clear();
}

template <int warp_chunks, bool peaked>
__device__ inline void work(SliceParameters& p) {
  __shared__ uint32_t hurried;
  __shared__ CopyBarrier filled[row_teams], row_ready;
  constexpr int row_bytes = team_warps * warp_chunks * int{chunk_k};
  Linear& a = p.linear;
  p.source.planes = 1;
  const int tile_bytes = static_cast<int>(num_chunks(a.k)) * chunk_bytes;
  Slice::cut(a, p.source, p.slice_chunks);
  char* const stages = dynamic_shared<char>();
  auto* const all_sums =
      reinterpret_cast<int*>(stage_of<slice_stage_chunks>(stages, p.slice_chunks, row_teams - 1) +
                             slice_stage_chunks(p.slice_chunks, row_teams - 1) * chunk_bytes);
  a.x.values = reinterpret_cast<int8_t*>(all_sums + TeamSums::words(row_teams));
  a.x.scale = reinterpret_cast<float*>(a.x.values + row_bytes);
  if (threadIdx.x == 0) {
    store_relaxed(&hurried, 0);
    for (CopyBarrier& barrier : filled) barrier.init(1);
    row_ready.init(row_teams * team_warps);
    CopyBarrier::made();
  }
  __syncthreads();
  const SlicedTiles tiles(a);
  if (threadIdx.x >= row_teams * team_threads) {
    if (threadIdx.x == row_teams * team_threads)
      fill_stages<slice_stage_chunks>(p, tiles, tile_bytes, stages, filled, &hurried, 0,
                                      [](int, CopyBarrier&) {});
    return;
  }
  clear_behind_row(a, row_bytes);
  const SliceBlock block{a,      p.source,   tiles,    tile_bytes, stages, p.slice_chunks,
                         filled, &row_ready, &hurried, all_sums};
  if (threadIdx.x < slice_row_threads)
    work_in_team<warp_chunks, peaked, true>(block);
  else
    work_in_team<warp_chunks, peaked, false>(block);
}

/// So few registers that a block finds room beside one of gate and up.
template <int warp_chunks, bool peaked>
__global__ void __maxnreg__(56) linear_teams_slice_kernel(SliceParameters p) {
  allow_next_kernel();
  if constexpr (code_architecture >= 90) work<warp_chunks, peaked>(p);
}
template <bool peaked>
auto kernel_for(const DecodePlan& plan) {
  return plan.unit_chunks == min_slice_warp_chunks
             ? linear_teams_slice_kernel<min_slice_warp_chunks, peaked>
             : linear_teams_slice_kernel<min_slice_warp_chunks + 1, peaked>;
}

}  // namespace

void linear_teams_slice(const Linear& linear, const RowSource& source, const DecodePlan& plan,
                        int slice_chunks, const Queue& queue) {
  const bool peaked = takes_peaks(linear, source, queue);
  launch(peaked ? kernel_for<true>(plan) : kernel_for<false>(plan),
         {dim3(extent(plan.blocks)), decode_threads(plan.ahead), plan.shared_bytes}, queue,
         SliceParameters{linear, source, slice_chunks, plan.early});
}

}  // namespace octet::kernels::cuda

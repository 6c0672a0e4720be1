// The decode multiplication of one long row (down) by clusters of blocks that have a slice of it
// each.
#include <type_traits>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_teams_slice.cuh"

#ifdef __NVCC__
#pragma nv_diag_suppress 177  // before sm_90 nothing of it is used
#endif

namespace octet::kernels::cuda {
namespace {

/// What a team's tile becomes, a channel a lane of its first warp: what blocks have of it meets in
/// Linear::slice_sums, and who comes last has all. Any number of blocks may run at a time.
class MetOutput {
 public:
  __device__ MetOutput(const Linear& a, const ClusterTiles& tiles)
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
  /// The team's sums; all lanes of its first warp take part.
  __device__ void store(const int* sums) const {
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
  }

 private:
  const Linear& a_;
  TeamPlace place_;
  int channel_;
  bool has_;
  float scale_ = 0, bias_ = 0, before_ = 0;
};

/// The output of a lane of the one warp that writes the block's tile, if it has one.
class SliceOutput {
 public:
  __device__ SliceOutput(const Linear& a, const ClusterTiles& tiles)
      : a_(a),
        channel_(static_cast<int>(tiles[Slice::rank()]) * 16 + place_.lane % 16),
        // A warp that has nothing of the row.
        writes_(Slice::rank() < tiles.count && place_.team == row_teams - 1 &&
                place_.warp == team_warps - 1) {
    if (!writes_) return;
    scale_ = static_cast<const float*>(a.scale)[channel_];
    if (a.bias) bias_ = a.bias[channel_];
  }
  __device__ void ask() {
    if (writes_) before_ = before_output(a_, channel_);
  }
  __device__ void store(const Slice& slice) const {
    if (!writes_) return;
    slice.wait();
    store_output(a_, slice.of_all(0, place_.lane % 16), scale_, bias_, before_, channel_,
                 place_.lane < 16);
  }

 private:
  const Linear& a_;
  TeamPlace place_;
  int channel_;
  bool writes_;
  float scale_ = 0, bias_ = 0, before_ = 0;
};

/// What a block's teams have in common.
struct SliceBlock {
  const Linear& a;
  const RowSource& source;
  const ClusterTiles& tiles;
  int tile_bytes;
  char* stages;
  int slice_chunks;
  CopyBarrier *filled, *row_ready;
  uint32_t* hurried;
  int* sums;
};
template <int warp_chunks, bool quantizes>
using WeightsOfTeam =
    SliceWeights<warp_register_chunks(quantizes ? 0 : row_teams - 1),
                 warp_chunks - warp_register_chunks(quantizes ? 0 : row_teams - 1)>;

template <class Weights>
__device__ inline void read_weights(const SliceBlock& b, int team, Weights& weights) {
  if (team < b.tiles.count)
    weights.read(stage_of<false>(b.stages, b.slice_chunks, team), b.filled[team],
                 static_cast<const char*>(b.a.weight) + b.tiles[team] * b.tile_bytes);
}

template <class Weights>
__device__ inline void multiply_slice_of_tile(const SliceBlock& b, const Weights& weights,
                                              int* sums) {
  const TeamPlace place;
  TeamProduct product(place);
  weights.each(b.a.x.values, true,
               [&](int c, const uint4& first, const uint4& second, const uint4* values) {
                 product.add(c, first, second, values);
               });
  product.store(sums);
}

/// In a cluster, of a row whose largest magnitude is not known. All but the last team quantize.
template <int warp_chunks, bool quantizes>
__device__ inline void work_in_team(const SliceBlock& b, const Slice& slice) {
  const int team = TeamPlace().team;
  SliceOutput output(b.a, b.tiles);
  WeightsOfTeam<warp_chunks, quantizes> weights;
  read_weights(b, team, weights);
  wait_previous_kernels();
  if constexpr (quantizes) {
    store_relaxed(b.hurried, 1);
    quantize_row<false, short_held, true, PlaneRow, Slice, slice_row_threads>(
        b.source, 0, 1, FirstNorms(b.source), nullptr, b.a.x, slice);
  } else {
    output.ask();
  }
  wait_for_row(*b.row_ready);
  if (team < b.tiles.count) {
    int* const sums = b.sums + TeamSums::words(team);
    multiply_slice_of_tile(b, weights, sums);
    sync_team(team);
    const TeamPlace place;
    if (place.warp == 0) slice.send(team, TeamSums(sums).of_all(place.lane / 16, place.lane % 16));
  }
  if constexpr (!quantizes) output.store(slice);
}

/// The same of a row that has peaks, in blocks that need not run at the same time.
template <int warp_chunks, bool quantizes>
__device__ inline void work_in_peaked_team(const SliceBlock& b) {
  const int team = TeamPlace().team;
  MetOutput output(b.a, b.tiles);
  WeightsOfTeam<warp_chunks, quantizes> weights;
  read_weights(b, team, weights);
  wait_previous_kernels();
  if constexpr (quantizes) {
    store_relaxed(b.hurried, 1);
    quantize_peaked_row<short_held, slice_row_threads>(b.source, b.a.x);
  }
  output.ask();
  wait_for_row(*b.row_ready);
  if (team >= b.tiles.count) return;
  int* const sums = b.sums + TeamSums::words(team);
  multiply_slice_of_tile(b, weights, sums);
  sync_team(team);
  if (TeamPlace().warp == 0) output.store(sums);
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
  auto* const exchange = reinterpret_cast<SliceExchange*>(
      stage_of<false>(stages, p.slice_chunks, row_teams - 1) +
      slice_stage_chunks(p.slice_chunks, row_teams - 1) * chunk_bytes);
  auto* const all_sums = reinterpret_cast<int*>(exchange + 1);
  a.x.values = reinterpret_cast<int8_t*>(all_sums + TeamSums::words(row_teams));
  a.x.scale = reinterpret_cast<float*>(a.x.values + row_bytes);
  const Slice slice(exchange);
  if (threadIdx.x == 0) {
    store_relaxed(&hurried, 0);
    for (CopyBarrier& barrier : filled) barrier.init(1);
    row_ready.init(row_teams * team_warps);
    CopyBarrier::made();
  }
  if constexpr (peaked)
    __syncthreads();
  else
    sync_cluster();
  const ClusterTiles tiles(a);
  if (threadIdx.x >= row_teams * team_threads) {
    if (threadIdx.x == row_teams * team_threads)
      fill_stages<false>(p, tiles, tile_bytes, stages, filled, &hurried, 0,
                         [](int, CopyBarrier&) {});
    return;
  }
  clear_behind_row(a, row_bytes);
  const SliceBlock block{a,      p.source,   tiles,    tile_bytes, stages, p.slice_chunks,
                         filled, &row_ready, &hurried, all_sums};
  const auto work_as = [&](auto quantizes) {
    if constexpr (peaked)
      work_in_peaked_team<warp_chunks, decltype(quantizes)::value>(block);
    else
      work_in_team<warp_chunks, decltype(quantizes)::value>(block, slice);
  };
  if (threadIdx.x < slice_row_threads)
    work_as(std::true_type());
  else
    work_as(std::false_type());
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
         {dim3(extent(plan.blocks)), decode_threads(plan.ahead), plan.shared_bytes,
          peaked ? 1 : plan.slices},
         queue, SliceParameters{linear, source, slice_chunks, plan.early});
}

}  // namespace octet::kernels::cuda

// linear_teams_slice() of a row with groups, each of which is in one slice. Groups have an order,
// so blocks leave sums and scales of theirs to the last block of a tile, which adds them up.
// Values are their own flags, as splits' results are (SplitPart): a block waits only for blocks
// before it in the grid, and any number of them may run at a time.
#include <type_traits>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_teams_slice.cuh"

#ifdef __NVCC__
#pragma nv_diag_suppress 177  // before sm_90 nothing of it is used
#endif

namespace octet::kernels::cuda {
namespace {

/// Waits until all warps of the teams have what they write of the row in shared memory.
__device__ inline void wait_for_row(CopyBarrier& row_ready) {
  __syncwarp();
  if (threadIdx.x % 32 == 0) row_ready.arrive();
  row_ready.wait(0);
}

/// Groups of two channels: sum, scale, sum, scale.
using GroupOfChannels = uint4;
constexpr int group_pieces = 16 / 2;
static_assert(group_pieces * sizeof(GroupOfChannels) == sliced_group_bytes);
constexpr int warp_groups = grouped_warp_chunks / 2;  // in registers, and in shared memory

/// Lane 4 g + q of a warp has two of its four groups, those in registers where q is 0, the others
/// where it is 1, of channels 2 g and 2 g + 1 of its team's tile.
class GroupsOfLane {
 public:
  /// Of `count` of the slice.
  __device__ explicit GroupsOfLane(int count) {
    const TeamPlace place;
    const int q = place.lane % 4;
    group_ = (q * team_warps + place.warp) * warp_groups;
    has_ = q < 2 && group_ < count;
  }
  /// put(place of [group][pair of channels] in the slice, value). scales: of the weights in these
  /// places.
  template <class Put>
  __device__ void each(const GroupProduct& product, const float* x_scale, const uint32_t* scales,
                       Put put) const {
    if (!has_) return;
    const int4 sums = product.of_two_channels();
    const int of_group[warp_groups][2] = {{sums.x, sums.z}, {sums.y, sums.w}};
#pragma unroll
    for (int i = 0; i < warp_groups; ++i) {
      const int at = (group_ + i) * group_pieces + static_cast<int>(threadIdx.x) % 32 / 4;
      const float2 scale = bfloat16_values(scales[at]);
      const float factor = x_scale[group_ + i];
      const auto bits = [](float value) { return __float_as_uint(value); };
      put(at, make_uint4(bits(static_cast<float>(of_group[i][0])), bits(factor * scale.x),
                         bits(static_cast<float>(of_group[i][1])), bits(factor * scale.y)));
    }
  }

 private:
  int group_;
  bool has_;
};

/// Takes what other blocks have left of a tile to shared memory, and leaves it missing again.
__device__ inline void collect(GroupOfChannels* left, int count, GroupOfChannels* shared) {
  constexpr int held = 3;
  for (int first = static_cast<int>(threadIdx.x) % team_threads; first < count;
       first += held * team_threads) {
    GroupOfChannels read[held];
    bool missing = true;
#pragma unroll
    for (int i = 0; i < held; ++i)
      read[i] = make_uint4(first + i * team_threads < count ? missing_word : 0, 0, 0, 0);
    while (missing) {
      missing = false;
#pragma unroll
      for (int i = 0; i < held; ++i)
        if (is_missing(read[i])) read[i] = load_shared_by_all(left + first + i * team_threads);
#pragma unroll
      for (int i = 0; i < held; ++i) missing |= is_missing(read[i]);
    }
#pragma unroll
    for (int i = 0; i < held; ++i) {
      const int at = first + i * team_threads;
      if (at >= count) break;
      shared[at] = read[i];
      left[at] = make_uint4(missing_word, missing_word, missing_word, missing_word);
    }
  }
}

/// A channel's groups in rising order (add_group()); [group][16 channels] of sum and scale. Some
/// are read while those before are added; what lies behind the last is any.
__device__ inline float add_up(const float2* of_channel, int groups) {
  constexpr int held = 8;
  float2 next[held];
  const auto read = [&](int first) {
#pragma unroll
    for (int i = 0; i < held; ++i) next[i] = of_channel[(first + i) * 16];
  };
  float value = 0;
  read(0);
#pragma unroll 1
  for (int first = 0; first < groups; first += held) {
    float2 now[held];
#pragma unroll
    for (int i = 0; i < held; ++i) now[i] = next[i];
    if (first + held < groups) read(first + held);
#pragma unroll
    for (int i = 0; i < held; ++i)
      if (first + i < groups) value = fmaf(now[i].x, now[i].y, value);
  }
  return value;
}

/// What a block's teams have in common.
struct GroupedBlock {
  const Linear& a;  // of the slice
  const RowSource& source;
  const SlicedTiles& tiles;
  int tile_bytes, slice_groups, all_groups;
  char* stages;
  int slice_chunks;
  CopyBarrier *filled, *row_ready;
  uint32_t* hurried;
  const uint32_t* scales;  // of the teams' slices

  __device__ static bool is_last() { return Slice::rank() == row_slices - 1; }
  __device__ int first_group() const { return Slice::rank() * slice_groups; }
  __device__ const uint32_t* scales_of(int team) const {
    return scales + team * slice_groups * group_pieces;
  }
  __device__ char* stage(int team) const {
    return stage_of<grouped_stage_chunks>(stages, slice_chunks, team);
  }
  /// Of a tile, what all blocks but the last leave.
  __device__ int left_pieces() const { return (row_slices - 1) * slice_groups * group_pieces; }
  __device__ GroupOfChannels* left(int64_t tile) const {
    return reinterpret_cast<GroupOfChannels*>(a.slice_groups) + tile * left_pieces();
  }
};

/// The last block's: the tile's outputs, in the place of its weights.
__device__ inline void finish_tile(const GroupedBlock& b, const GroupsOfLane& groups,
                                   const GroupProduct& product, int64_t tile, float bias,
                                   float before) {
  const TeamPlace place;
  auto* const all = reinterpret_cast<GroupOfChannels*>(b.stage(place.team));
  sync_team(place.team);  // all have multiplied
  groups.each(product, b.a.x.scale, b.scales_of(place.team),
              [&](int at, const GroupOfChannels& value) { all[b.left_pieces() + at] = value; });
  collect(b.left(tile), b.left_pieces(), all);
  sync_team(place.team);
  if (place.warp > 0) return;
  const int channel = place.lane % 16;
  store_product(b.a, add_up(reinterpret_cast<const float2*>(all) + channel, b.all_groups), bias,
                before, static_cast<int>(tile) * 16 + channel, place.lane < 16);
}

template <bool quantizes>
__device__ inline void work_in_team(const GroupedBlock& b) {
  const TeamPlace place;
  const bool has_tile = place.team < b.tiles.count;
  const auto tile = static_cast<int>(b.tiles[has_tile ? place.team : 0]);
  const int channel = static_cast<int>(tile) * 16 + place.lane % 16,
            chunks = static_cast<int>(num_chunks(b.a.k));
  SliceWeights<grouped_warp_chunks, grouped_warp_chunks> weights;
  if (has_tile)
    weights.read(b.stage(place.team), b.filled[place.team],
                 static_cast<const char*>(b.a.weight) + int64_t{tile} * b.tile_bytes);
  wait_previous_kernels();
  if constexpr (quantizes) {
    store_relaxed(b.hurried, 1);
    quantize_row<true, short_held, true, PlaneRow, WholeRow, slice_row_threads>(
        b.source, 0, 1, FirstNorms(b.source), nullptr, b.a.x);
  }
  wait_for_row(*b.row_ready);
  if (!has_tile) return;
  const float bias = b.is_last() ? bias_of(b.a, channel) : 0,
              before = b.is_last() ? before_output(b.a, channel) : 0;
  const GroupsOfLane groups(chunks / 2);
  GroupProduct product(0);
  weights.each(b.a.x.values,
               place.warp * grouped_warp_chunks < static_cast<int>(grouped_stage_chunks(chunks)),
               [&](int c, const uint4& first, const uint4& second, const uint4* values) {
                 product.add(c, first, second, values);
               });
  if (b.is_last()) return finish_tile(b, groups, product, tile, bias, before);
  GroupOfChannels* const left = b.left(tile) + b.first_group() * group_pieces;
  groups.each(product, b.a.x.scale, b.scales_of(place.team),
              [&](int at, const GroupOfChannels& value) { store_shared_by_all(left + at, value); });
}

__device__ inline void work(SliceParameters& p) {
  __shared__ uint32_t hurried;
  __shared__ CopyBarrier filled[row_teams], row_ready;
  Linear& a = p.linear;
  p.source.planes = 1;
  const int tile_bytes = static_cast<int>(num_chunks(a.k)) * chunk_bytes,
            all_groups = static_cast<int>(num_groups(a.k));
  Slice::cut(a, p.source, p.slice_chunks);
  char* const stages = dynamic_shared<char>();
  a.x.values =
      reinterpret_cast<int8_t*>(stage_of<grouped_stage_chunks>(stages, p.slice_chunks, row_teams));
  a.x.scale = reinterpret_cast<float*>(a.x.values + grouped_row_bytes);
  if (threadIdx.x == 0) {
    store_relaxed(&hurried, 0);
    for (CopyBarrier& barrier : filled) barrier.init(1);
    row_ready.init(row_teams * team_warps);
    CopyBarrier::made();
  }
  __syncthreads();
  auto* const scales =
      reinterpret_cast<uint32_t*>(reinterpret_cast<char*>(a.x.scale) + grouped_row_scale_bytes);
  const int full_groups = p.slice_chunks / 2, slice_groups = static_cast<int>(num_groups(a.k)),
            group_bytes = group_pieces * 4;
  const SlicedTiles tiles(a);
  if (threadIdx.x >= row_teams * team_threads) {
    if (threadIdx.x == row_teams * team_threads)
      fill_stages<grouped_stage_chunks>(
          p, tiles, tile_bytes, stages, filled, &hurried, slice_groups * group_bytes,
          [&](int i, CopyBarrier& barrier) {
            barrier.copy(scales + i * full_groups * group_pieces,
                         static_cast<const char*>(a.scale) +
                             (tiles[i] * all_groups + Slice::rank() * full_groups) * group_bytes,
                         slice_groups * group_bytes);
          });
    return;
  }
  clear_behind_row(a, grouped_row_bytes);
  const GroupedBlock block{a,      p.source,       tiles,  tile_bytes, full_groups, all_groups,
                           stages, p.slice_chunks, filled, &row_ready, &hurried,    scales};
  if (threadIdx.x < slice_row_threads)
    work_in_team<true>(block);
  else
    work_in_team<false>(block);
}

/// So few registers that a block finds room beside one of gate and up.
__global__ void __maxnreg__(56) linear_teams_slice_groups_kernel(SliceParameters p) {
  allow_next_kernel();
  if constexpr (code_architecture >= 90) work(p);
}

}  // namespace

void linear_teams_slice_groups(const Linear& linear, const RowSource& source,
                               const DecodePlan& plan, int slice_chunks, const Queue& queue) {
  launch(linear_teams_slice_groups_kernel,
         {dim3(extent(plan.blocks)), decode_threads(plan.ahead), plan.shared_bytes}, queue,
         SliceParameters{linear, source, slice_chunks, plan.early});
}

}  // namespace octet::kernels::cuda

// The decode multiplication of one row where a block has many tiles (gate and up, the head), which
// its teams take in turns.
#include <type_traits>

#include "kernels/cuda/best_logit.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_teams.cuh"

#ifdef __NVCC__
#pragma nv_diag_suppress 177  // before sm_90 nothing of it is used
#endif

namespace octet::kernels::cuda {
namespace {

struct TeamRing {
  int stages, tile_bytes;
  int in_flight, early;            ///< pieces on their way, before the input is there
  int least_tiles, larger_blocks;  ///< of a block, and blocks that have one more

  __device__ int tiles() const {
    return least_tiles + (static_cast<int>(blockIdx.x) < larger_blocks);
  }
};

struct Parameters {
  Linear linear;
  RowSource source;
  TeamRing ring;
};

/// The ring of a block's tiles, each a stage, which a warp that does nothing else fills; with few
/// stages on their way before the input is there, as BulkFeed does.
class TeamFeed {
 public:
  __device__ TeamFeed(char* ring, const TeamRing& plan)
      : ring_(ring),
        plan_(plan),
        filled_(reinterpret_cast<CopyBarrier*>(ring + plan.stages * plan.tile_bytes)) {
    if (threadIdx.x == 0) {
      store_relaxed(input_flag(), 0);
      for (int i = 0; i < team_pieces * plan.stages; ++i) filled_[i].init(1);
      for (int i = 0; i < plan.stages; ++i) used(i).init(team_warps);
      CopyBarrier::made();
    }
    __syncthreads();
  }

  /// All of the block's tiles, by one thread. A stage's next phase is not waited for before the one
  /// before has ended: a team that waits for tile n has had tile n - row_teams, which was asked for
  /// behind the end of tile n - row_teams - in_flight, and stages >= row_teams + in_flight.
  __device__ void fill(const Linear& a) const {
    const int first = static_cast<int>(blockIdx.x), step = static_cast<int>(gridDim.x);
    int stage = 0, parity = 0, behind = 0, behind_parity = 0, on_their_way = 0;
    for (int tile = first, number = 0; tile < a.n_tiles; tile += step, ++number) {
      if (number >= plan_.stages) used(stage).wait(parity ^ 1);
      for (int piece = 0; piece < team_pieces; ++piece, ++on_their_way) {
        while (on_their_way >= (load_relaxed(input_flag()) ? plan_.in_flight : plan_.early)) {
          filled_[behind].wait(behind_parity);
          if (++behind == team_pieces * plan_.stages) behind = 0, behind_parity ^= 1;
          --on_their_way;
        }
        copy(a, tile, stage, piece);
      }
      advance(stage, parity, 1);
    }
  }
  /// The input is there.
  __device__ void hurry() const { store_relaxed(input_flag(), 1); }

  __device__ void advance(int& stage, int& parity, int by) const {
    stage += by;
    if (stage >= plan_.stages) stage -= plan_.stages, parity ^= 1;
  }
  /// Until all of a stage's tile is there.
  __device__ void wait(int stage, int parity) const {
    for (int piece = 0; piece < team_pieces; ++piece)
      filled_[stage * team_pieces + piece].wait(parity);
  }
  __device__ CopyBarrier& used(int stage) const {
    return filled_[team_pieces * plan_.stages + stage];
  }
  __device__ const uint4* stage(int stage) const {
    return reinterpret_cast<const uint4*>(ring_ + stage * plan_.tile_bytes);
  }

 private:
  __device__ static uint32_t* input_flag() {
    __shared__ uint32_t flag;
    return &flag;
  }
  __device__ void copy(const Linear& a, int tile, int stage, int piece) const {
    const int chunks = plan_.tile_bytes / chunk_bytes,
              from = piece * chunks / team_pieces * chunk_bytes,
              bytes = (piece + 1) * chunks / team_pieces * chunk_bytes - from;
    CopyBarrier& filled = filled_[stage * team_pieces + piece];
    filled.expect(bytes);
    filled.copy(
        ring_ + stage * plan_.tile_bytes + from,
        static_cast<const char*>(a.weight) + static_cast<int64_t>(tile) * plan_.tile_bytes + from,
        bytes);
  }

  char* ring_;
  const TeamRing& plan_;
  CopyBarrier* filled_;
};

/// A warp's weights of its team's next tile, in registers.
struct TeamWeights {
  uint4 chunk[team_chunks][2];

  /// From a stage. What lies behind the tile's end is any: the row is zero there.
  __device__ void read(const TeamFeed& feed, int stage, int parity) {
    const TeamPlace place;
    feed.wait(stage, parity);
    const uint4* from = feed.stage(stage) + place.warp * team_chunks * 64 + place.lane;
#pragma unroll
    for (int c = 0; c < team_chunks; ++c)
#pragma unroll
      for (int half = 0; half < 2; ++half) chunk[c][half] = from[c * 64 + half * 32];
    __syncwarp();
    if (place.lane == 0) feed.used(stage).arrive();
  }
};

/// What a warp multiplies of its team's tiles, of which `weights` are the first one's, if there is
/// one.
template <bool grouped>
class TeamUnits {
 public:
  __device__ TeamUnits(const Linear& a, const TeamFeed& feed, TeamWeights& weights)
      : feed_(feed),
        weights_(weights),
        x_(reinterpret_cast<const uint4*>(a.x.values) + place_.warp * team_chunks * 4 +
           place_.lane % 4),
        stage_(place_.team) {
    feed.advance(stage_, parity_, row_teams);
  }

  /// The warp's sums of the next tile. again: there is one more.
  __device__ void multiply(int* sums, bool again) {
    if constexpr (grouped) {
      TeamGroups product(place_);
#pragma unroll
      for (int c = 0; c < team_chunks; ++c)
        product.add(c, weights_.chunk[c][0], weights_.chunk[c][1], x_ + c * 4);
      if (again) read_next();
      product.store(sums);
    } else {
      TeamProduct product;
#pragma unroll
      for (int c = 0; c < team_chunks; ++c)
        product.add(weights_.chunk[c][0], weights_.chunk[c][1], x_ + c * 4, place_.lane);
      if (again) read_next();
      product.store(sums, place_);
    }
  }

 private:
  __device__ void read_next() {
    weights_.read(feed_, stage_, parity_);
    feed_.advance(stage_, parity_, row_teams);
  }

  TeamPlace place_;
  const TeamFeed& feed_;
  TeamWeights& weights_;
  const uint4* x_;
  int stage_, parity_ = 0;
};

/// Scales and biases of the block's tiles in shared memory.
class TeamConstants {
 public:
  __device__ TeamConstants(const Linear& a, char* shared)
      : shared_(reinterpret_cast<float*>(shared)) {
    constexpr int at_a_time = row_teams * team_threads / 16;
    const int step = static_cast<int>(gridDim.x), channel = static_cast<int>(threadIdx.x) % 16;
    int number = static_cast<int>(threadIdx.x) / 16;
    for (int tile = static_cast<int>(blockIdx.x) + number * step; tile < a.n_tiles;
         tile += at_a_time * step, number += at_a_time) {
      float* const of_tile = shared_ + number * tile_words;
      of_tile[channel] = static_cast<const float*>(a.scale)[tile * 16 + channel];
      if (a.bias) of_tile[16 + channel] = a.bias[tile * 16 + channel];
    }
  }
  /// Those of the block's tile of that number; there is no bias where the linear has none.
  __device__ float bias(int number, int channel) const {
    return shared_[number * tile_words + 16 + channel];
  }
  /// From a team's sums.
  __device__ float product(const Linear& a, const int* sums, int number, int channel) const {
    return dequantize(TeamSums(sums).of_all(0, channel), *a.x.scale,
                      shared_[number * tile_words + channel]);
  }

 private:
  static constexpr int tile_words = static_cast<int>(team_constant_bytes(1, false)) / 4;
  float* shared_;
};

/// The same of groups, whose scales are [groups][16].
class TeamGroupConstants {
 public:
  __device__ TeamGroupConstants(const Linear& a, char* shared)
      : groups_(static_cast<int>(num_groups(a.k))), shared_(shared) {
    constexpr int lanes = 32, at_a_time = row_teams * team_threads / lanes;
    static_assert(2 * max_team_groups <= lanes);
    const int step = static_cast<int>(gridDim.x), lane = static_cast<int>(threadIdx.x) % lanes;
    int number = static_cast<int>(threadIdx.x) / lanes;
    for (int tile = static_cast<int>(blockIdx.x) + number * step; tile < a.n_tiles;
         tile += at_a_time * step, number += at_a_time) {
      if (lane < 2 * groups_)
        reinterpret_cast<uint4*>(scales(number))[lane] =
            static_cast<const uint4*>(a.scale)[tile * 2 * groups_ + lane];
      if (a.bias && lane < 16) biases(number)[lane] = a.bias[tile * 16 + lane];
    }
  }
  __device__ float bias(int number, int channel) const { return biases(number)[channel]; }
  __device__ float product(const Linear& a, const int* sums, int number, int channel) const {
    return TeamGroups::product(sums, a.x.scale, scales(number) + channel, channel, groups_);
  }

 private:
  __device__ int scale_bytes() const { return groups_ * 16 * int{sizeof(uint16_t)}; }
  __device__ uint16_t* scales(int number) const {
    return reinterpret_cast<uint16_t*>(shared_ + number * (scale_bytes() + tile_bias_bytes));
  }
  __device__ float* biases(int number) const {
    return reinterpret_cast<float*>(reinterpret_cast<char*>(scales(number)) + scale_bytes());
  }

  int groups_;
  char* shared_;
};
template <bool grouped>
using ConstantsOf = std::conditional_t<grouped, TeamGroupConstants, TeamConstants>;

/// Of each team's outputs, of which one warp after the other makes some, what is known so far:
/// their largest magnitude, or their best. In one place: 128 bytes more would leave o's block no
/// room beside gate and up's.
__device__ inline Key* of_teams() {
  __shared__ Key known[row_teams];
  return known;
}

/// Notes what a warp has made (RowSource::peaks), behind what others have; sync_team() is between
/// them.
__device__ inline void note_peak(const Linear& a, int team, uint32_t peak) {
  peak = largest_of_warp(peak);
  if (threadIdx.x % 32 > 0) return;
  peak = max(peak, static_cast<uint32_t>(of_teams()[team]));
  of_teams()[team] = peak;
  a.peaks[static_cast<int>(blockIdx.x) * team_peak_words + team] = peak;
}
static_assert(row_teams <= team_peak_words);

/// The same for Linear::best, of each lane's output, if it is there. Seldom is one better.
__device__ inline void note_best(const Linear& a, int team, float value, int channel, bool there) {
  const Key before = of_teams()[team];
  Key key = there ? key_of(value, channel) : Key{0};
  while (largest_of_warp(static_cast<uint32_t>(key >> 32)) >= static_cast<uint32_t>(before >> 32)) {
    const Key best = combine_warp(key, LargerKey());
    if (best <= before) return;
    if (!is_left_out(a.left_out, id_of(best))) {
      if (threadIdx.x % 32 > 0) return;
      of_teams()[team] = best;
      atomicMax(reinterpret_cast<unsigned long long*>(a.best),
                static_cast<unsigned long long>(best));
      return;
    }
    if (key == best) key = 0;
  }
}

/// Goes through the tiles of this thread's team, two a turn, whose outputs one of its warps makes.
template <bool grouped>
__device__ inline void multiply_in_teams(const Linear& a, TeamUnits<grouped>& units,
                                         const ConstantsOf<grouped>& constants, int tiles,
                                         int* sums_memory) {
  static_assert(team_turn * 16 == 32);
  constexpr int tile_words = team_warps * warp_sum_words(grouped),
                turn_words = team_turn * tile_words;
  int number = TeamPlace().team, writer = 0, to_other = turn_words;
  int* sums = sums_memory + number * 2 * turn_words;
#pragma unroll 1
  while (number < tiles) {
    const int first = number;
#pragma unroll 1
    for (int i = 0; i < team_turn && number < tiles; ++i, number += row_teams)
      units.multiply(sums + i * tile_words, number + row_teams < tiles);
    // Worked out again, to take no registers before.
    const TeamPlace place(static_cast<unsigned>(worked_out_here(static_cast<int>(threadIdx.x))));
    sync_team(place.team);
    if (place.warp == writer) {
      const int of_turn = place.lane / 16, channel = place.lane % 16;
      const bool there = first + of_turn * row_teams < tiles;
      const int own = there ? first + of_turn * row_teams : first;
      const int out =
          (static_cast<int>(blockIdx.x) + own * static_cast<int>(gridDim.x)) * 16 + channel;
      const float value =
          store_product(a, constants.product(a, sums + of_turn * tile_words, own, channel),
                        constants.bias(own, channel), before_output(a, out), out, there);
      if (a.peaks) note_peak(a, place.team, peak_of(value));
      if (a.best) note_best(a, place.team, value, out, there);
    }
    if (++writer == team_warps) writer = 0;
    sums += to_other;
    to_other = -to_other;
  }
}

template <bool grouped>
__device__ inline void work(Parameters& p) {
  Linear& a = p.linear;
  p.source.planes = 1;
  char* const ring = dynamic_shared<char>();
  const TeamFeed feed(ring, p.ring);
  if (threadIdx.x >= row_teams * team_threads) {
    if (threadIdx.x == row_teams * team_threads) feed.fill(a);
    return;
  }
  char* const sums = ring + team_ring_bytes(p.ring.stages, p.ring.tile_bytes);
  a.x.values = reinterpret_cast<int8_t*>(sums) + team_sum_bytes(grouped);
  a.x.scale = reinterpret_cast<float*>(a.x.values + team_row_bytes);
  // There, as registers have the first tile's weights.
  auto* const exchanged = reinterpret_cast<float4*>(sums);
  const NormsInMemory norms(p.source, exchanged);
  clear_behind_row(a, team_row_bytes);
  if (threadIdx.x < row_teams) of_teams()[threadIdx.x] = 0;
  const ConstantsOf<grouped> constants(
      a, reinterpret_cast<char*>(a.x.scale) + team_row_scale_bytes(grouped));
  TeamWeights weights;
  const TeamPlace place;
  if (place.team < p.ring.tiles()) weights.read(feed, place.team, 0);
  if (threadIdx.x < block_threads) {
    wait_previous_kernels();
    quantize_row<grouped, short_held, true>(p.source, 0, 1, norms, exchanged, a.x);
    feed.hurry();
  }
  sync_teams();
  TeamUnits<grouped> units(a, feed, weights);
  multiply_in_teams(a, units, constants, p.ring.tiles(), reinterpret_cast<int*>(sums));
}

/// So few registers that a block of o or of down finds room beside this one.
template <bool grouped>
__global__ void __maxnreg__(72) linear_teams_kernel(Parameters p) {
  allow_next_kernel();
  if constexpr (code_architecture >= 90) work<grouped>(p);
}

}  // namespace

void linear_teams(const Linear& linear, const RowSource& source, const DecodePlan& plan,
                  const Queue& queue) {
  const int tile_bytes = static_cast<int>(num_chunks(linear.k)) * chunk_bytes;
  const auto tiles = static_cast<int>(linear.n_tiles);
  const Parameters parameters{linear,
                              source,
                              {plan.ring_bytes / tile_bytes, tile_bytes, plan.in_flight, plan.early,
                               tiles / plan.blocks, tiles % plan.blocks}};
  launch(linear.grouped ? linear_teams_kernel<true> : linear_teams_kernel<false>,
         {dim3(extent(plan.blocks)), decode_threads(plan.ahead), plan.shared_bytes}, queue,
         parameters);
}

}  // namespace octet::kernels::cuda

// The decode multiplication of one long row (down) by clusters of blocks that have a slice of it
// each: a team has its slice of one tile. Before the input is there, shared memory and registers
// have all weights.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_teams.cuh"

#ifdef __NVCC__
#pragma nv_diag_suppress 177  // before sm_90 nothing of it is used
#endif

namespace octet::kernels::cuda {
namespace {

struct Parameters {
  Linear linear;
  RowSource source;
  int slice_chunks, early;
};

/// The tiles of a block's cluster, of which this block has slices.
struct ClusterTiles {
  int first, step, count;
  __device__ explicit ClusterTiles(const Linear& a)
      : first(static_cast<int>(blockIdx.x) / row_slices),
        step(static_cast<int>(gridDim.x) / row_slices),
        count((static_cast<int>(a.n_tiles) - first + step - 1) / step) {}
  __device__ int64_t operator[](int i) const { return first + i * step; }
};

/// What of the tiles' slices goes to shared memory, a stage each, by one thread: `early` stages at
/// a time until `hurried`.
__device__ inline void fill_stages(const Linear& a, const ClusterTiles& tiles, int tile_bytes,
                                   char* stages, int stage_bytes, CopyBarrier* filled, int early,
                                   const uint32_t* hurried) {
  const int bytes = (static_cast<int>(num_chunks(a.k)) - slice_register_chunks) * chunk_bytes;
  const auto* from = static_cast<const char*>(a.weight) + slice_register_chunks * chunk_bytes;
  int arrived = 0;
  for (int i = 0; i < tiles.count; ++i) {
    for (; arrived + early <= i && !load_relaxed(hurried); ++arrived) filled[arrived].wait(0);
    filled[i].expect(bytes);
    filled[i].copy(stages + i * stage_bytes, from + tiles[i] * tile_bytes, bytes);
  }
}

/// A warp's weights of its team's tile: so many chunks in shared memory, and as
/// slice_register_chunks says in registers.
template <int in_memory>
class SliceWeights {
  static constexpr int in_registers = slice_register_chunks / team_warps;

 public:
  /// Waits for the stage, and asks for what registers have of the tile.
  __device__ void read(const char* stage, CopyBarrier& filled, const char* tile) {
    const TeamPlace place;
    stage_ = reinterpret_cast<const uint4*>(stage) + place.warp * in_memory * 64 + place.lane;
    const auto* from =
        reinterpret_cast<const uint4*>(tile) + place.warp * in_registers * 64 + place.lane;
    filled.wait(0);
#pragma unroll
    for (int i = 0; i < in_registers * 2; ++i) chunk_[i / 2][i % 2] = load_once(from + i * 32);
  }

  /// The warp's sums. What lies behind the slice is any: the row is zero there.
  __device__ void multiply(const int8_t* x, int* sums) const {
    const TeamPlace place;
    const auto* row = reinterpret_cast<const uint4*>(x) + place.lane % 4;
    TeamProduct product;
#pragma unroll
    for (int c = 0; c < in_registers; ++c)
      product.add(chunk_[c][0], chunk_[c][1], row + (place.warp * in_registers + c) * 4,
                  place.lane);
    row += (slice_register_chunks + place.warp * in_memory) * 4;
#pragma unroll
    for (int c = 0; c < in_memory; ++c)
      product.add(stage_[c * 64], stage_[c * 64 + 32], row + c * 4, place.lane);
    product.store(sums, place);
  }

 private:
  const uint4* stage_;
  uint4 chunk_[in_registers][2];
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

template <int in_memory>
__device__ inline void work(Parameters& p) {
  __shared__ uint32_t hurried;
  __shared__ CopyBarrier filled[row_teams];
  constexpr int row_bytes = (slice_register_chunks + team_warps * in_memory) * int{chunk_k};
  Linear& a = p.linear;
  p.source.planes = 1;
  const int tile_bytes = static_cast<int>(num_chunks(a.k)) * chunk_bytes,
            stage_bytes = (p.slice_chunks - slice_register_chunks) * chunk_bytes;
  Slice::cut(a, p.source, p.slice_chunks);
  char* const stages = dynamic_shared<char>();
  auto* const exchange = reinterpret_cast<SliceExchange*>(stages + row_teams * stage_bytes);
  auto* const all_sums = reinterpret_cast<int*>(exchange + 1);
  a.x.values = reinterpret_cast<int8_t*>(all_sums + TeamSums::words(row_teams));
  a.x.scale = reinterpret_cast<float*>(a.x.values + row_bytes);
  const Slice slice(exchange);
  if (threadIdx.x == 0) {
    store_relaxed(&hurried, 0);
    for (CopyBarrier& barrier : filled) barrier.init(1);
    CopyBarrier::made();
  }
  sync_cluster();
  const ClusterTiles tiles(a);
  if (threadIdx.x >= row_teams * team_threads) {
    if (threadIdx.x == row_teams * team_threads)
      fill_stages(a, tiles, tile_bytes, stages, stage_bytes, filled, p.early, &hurried);
    return;
  }
  clear_behind_row(a, row_bytes);
  SliceOutput output(a, tiles);
  SliceWeights<in_memory> weights;
  const TeamPlace place;
  if (place.team < tiles.count)
    weights.read(stages + place.team * stage_bytes, filled[place.team],
                 static_cast<const char*>(a.weight) + tiles[place.team] * tile_bytes);
  wait_previous_kernels();
  store_relaxed(&hurried, 1);
  output.ask();
  if (threadIdx.x < slice_row_threads)
    quantize_row<false, short_held, true, PlaneRow, Slice, slice_row_threads>(
        p.source, 0, 1, FirstNorms(p.source), nullptr, a.x, slice);
  sync_teams();
  if (place.team < tiles.count) {
    int* const sums = all_sums + TeamSums::words(place.team);
    weights.multiply(a.x.values, sums);
    sync_team(place.team);
    if (place.warp == 0)
      slice.send(place.team, TeamSums(sums).of_all(place.lane / 16, place.lane % 16));
  }
  output.store(slice);
}

/// So few registers that a block finds room beside one of gate and up.
template <int in_memory>
__global__ void __maxnreg__(56) linear_teams_slice_kernel(Parameters p) {
  allow_next_kernel();
  if constexpr (code_architecture >= 90) work<in_memory>(p);
}

}  // namespace

void linear_teams_slice(const Linear& linear, const RowSource& source, const DecodePlan& plan,
                        int slice_chunks, const Queue& queue) {
  launch(plan.unit_chunks == 5 ? linear_teams_slice_kernel<5> : linear_teams_slice_kernel<6>,
         {dim3(extent(plan.blocks)), decode_threads(plan.ahead), plan.shared_bytes, plan.slices},
         queue, Parameters{linear, source, slice_chunks, plan.early});
}

}  // namespace octet::kernels::cuda

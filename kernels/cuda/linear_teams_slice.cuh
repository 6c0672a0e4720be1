#pragma once
// What slices of a long row for teams of warps share: each team has its slice of one tile, of which
// shared memory and registers have all weights before the input is there.
#include "kernels/cuda/linear_teams.cuh"

namespace octet::kernels::cuda {

struct SliceParameters {
  Linear linear;
  RowSource source;
  int slice_chunks, early;
};

/// The tiles of which this block and its neighbours have slices.
struct SlicedTiles {
  int first, step, count;
  __device__ explicit SlicedTiles(const Linear& a)
      : first(static_cast<int>(blockIdx.x) / row_slices),
        step(static_cast<int>(gridDim.x) / row_slices),
        count((static_cast<int>(a.n_tiles) - first + step - 1) / step) {}
  __device__ int64_t operator[](int i) const { return first + i * step; }
};

/// Of so many chunks of a slice those that lie in a team's stage, at least as many in the first's.
using StageChunks = int64_t (*)(int64_t slice_chunks, int team);
/// Where a team's stage begins.
template <StageChunks stage_chunks>
__device__ inline char* stage_of(char* stages, int slice_chunks, int team) {
  return stages + team * static_cast<int>(stage_chunks(slice_chunks, 0)) * chunk_bytes;
}

/// What of the tiles' slices goes to shared memory, a stage each, by one thread: `early` stages at
/// a time until `hurried`. With each comes what copy_more(number of the tile, barrier) copies, so
/// many bytes.
template <StageChunks stage_chunks, class CopyMore>
__device__ inline void fill_stages(const SliceParameters& p, const SlicedTiles& tiles,
                                   int tile_bytes, char* stages, CopyBarrier* filled,
                                   const uint32_t* hurried, int more_bytes, CopyMore copy_more) {
  const auto chunks = static_cast<int>(num_chunks(p.linear.k));
  const auto* const weight = static_cast<const char*>(p.linear.weight);
  int arrived = 0;
  for (int i = 0; i < tiles.count; ++i) {
    for (; arrived + p.early <= i && !load_relaxed(hurried); ++arrived) filled[arrived].wait(0);
    const int copied = static_cast<int>(stage_chunks(chunks, i)), bytes = copied * chunk_bytes;
    filled[i].expect(bytes + more_bytes);
    copy_more(i, filled[i]);
    filled[i].copy(stage_of<stage_chunks>(stages, p.slice_chunks, i),
                   weight + tiles[i] * tile_bytes + (chunks - copied) * chunk_bytes, bytes);
  }
}

/// A warp's weights of its team's tile: so many chunks in registers, then in shared memory.
template <int in_registers, int in_memory>
class SliceWeights {
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

  /// add(number of the warp's chunk, its weights, its values of the row x). What lies behind the
  /// slice is any: the row is zero there. of_memory: whether the warp has chunks in shared memory.
  template <class Add>
  __device__ void each(const int8_t* x, bool of_memory, Add add) const {
    const TeamPlace place;
    const auto* row = reinterpret_cast<const uint4*>(x) + place.lane % 4;
#pragma unroll
    for (int c = 0; c < in_registers; ++c)
      add(c, chunk_[c][0], chunk_[c][1], row + (place.warp * in_registers + c) * 4);
    if (!of_memory) return;
    row += (team_warps * in_registers + place.warp * in_memory) * 4;
#pragma unroll
    for (int c = 0; c < in_memory; ++c)
      add(in_registers + c, stage_[c * 64], stage_[c * 64 + 32], row + c * 4);
  }

 private:
  const uint4* stage_;
  uint4 chunk_[in_registers][2];
};

}  // namespace octet::kernels::cuda

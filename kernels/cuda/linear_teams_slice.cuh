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

}  // namespace octet::kernels::cuda

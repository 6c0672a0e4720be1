#pragma once
// The decode multiplication of one row. Its time consists of the instructions between the row and
// the outputs, so the code is straight, and whatever can be is worked out before the row is there.
// sm_90.
#include "kernels/cuda/linear_output.cuh"
#include "kernels/cuda/linear_slice.cuh"

namespace octet::kernels::cuda {

/// A warp's units in the ring of bulk copies, stage after stage. Behind the ring's stages lie the
/// barriers of those that are filled, then of those that are used.
template <int unit_chunks>
class RingReader {
 public:
  __device__ RingReader(char* ring, int stages)
      : filled_(reinterpret_cast<CopyBarrier*>(ring + stages * stage_bytes)),
        weights_(reinterpret_cast<const uint4*>(ring) + threadIdx.x / 32 * unit_chunks * 64 +
                 threadIdx.x % 32),
        stages_(stages),
        left_(stages) {}

  /// This lane's weights of the next unit. What lies behind a tile's end is any.
  __device__ void read(uint4 (&weights)[unit_chunks][2]) {
    each([&](int c, const uint4& first, const uint4& second) {
      weights[c][0] = first;
      weights[c][1] = second;
    });
  }
  /// The same: take(chunk, first, second half).
  template <class Take>
  __device__ void each(Take take) {
    filled_->wait(parity_);
#pragma unroll
    for (int c = 0; c < unit_chunks; ++c) take(c, weights_[c * 64], weights_[c * 64 + 32]);
    __syncwarp();
    if (threadIdx.x % 32 == 0) filled_[stages_].arrive();
    next();
  }

 private:
  static constexpr int stage_bytes = decode_stage_bytes(unit_chunks);
  __device__ void next() {
    ++filled_;
    weights_ += stage_bytes / 16;
    if (--left_ > 0) return;
    filled_ -= stages_;
    weights_ -= stages_ * (stage_bytes / 16);
    left_ = stages_;
    parity_ ^= 1;
  }

  CopyBarrier* filled_;
  const uint4* weights_;
  int stages_, left_, parity_ = 0;
};

/// Zeros behind the values of rows.
__device__ inline void clear_behind(const QuantizedRows& x, int rows, int from, int to) {
  for (int row = 0; row < rows; ++row)
    for (int i = from / 16 + static_cast<int>(threadIdx.x); i < to / 16; i += block_threads)
      reinterpret_cast<uint4*>(x.values + row * x.stride)[i] = make_uint4(0, 0, 0, 0);
}

/// What a warp multiplies of each tile; ahead: the weights of its next unit are in registers. x has
/// zeros up to row_bytes(), and lanes of rows that are not there take another.
template <int unit_chunks, bool ahead>
class RowUnits {
 public:
  /// tiles: the block's.
  __device__ RowUnits(const QuantizedRows& x, int planes, int64_t k, int tiles,
                      const RingReader<unit_chunks>& ring)
      : ring_(ring),
        x_(reinterpret_cast<const uint4*>(x.values + min(lane() / 4, planes - 1) * x.stride) +
           warp() * unit_chunks * 4 + lane() % 4),
        stages_(static_cast<int>(row_stages(k, unit_chunks))),
        left_(tiles * stages_) {
    if constexpr (ahead)
      if (left_ > 0) ring_.read(weights_);
  }

  /// The warp's sums of the next tile, to its place among those of the tile (TileSums).
  __device__ void multiply(int* sums) {
    int even[4] = {}, odd[4] = {};
    const uint4* x = x_;
#pragma unroll 1
    for (int stage = 0; stage < stages_; ++stage, x += block_warps * unit_chunks * 4) {
      const auto multiply_chunk = [&](int c, const uint4& first, const uint4& second) {
        const uint4 values = x[c * 4];
        mma_s8(even, first, values.x, values.y);
        mma_s8(odd, second, values.z, values.w);
      };
      if constexpr (ahead) {
#pragma unroll
        for (int c = 0; c < unit_chunks; ++c) multiply_chunk(c, weights_[c][0], weights_[c][1]);
        if (--left_ > 0) ring_.read(weights_);
      } else {
        ring_.each(multiply_chunk);
      }
    }
    if (lane() % 4 == 0)  // of rows 0 and 1
      reinterpret_cast<int4*>(sums)[warp() * 8 + lane() / 4] =
          make_int4(even[0] + odd[0], even[1] + odd[1], even[2] + odd[2], even[3] + odd[3]);
  }

 private:
  __device__ static int warp() {
    return static_cast<int>(threadIdx.x) / 32;
  }
  __device__ static int lane() {
    return static_cast<int>(threadIdx.x) % 32;
  }

  RingReader<unit_chunks> ring_;
  const uint4* x_;
  int stages_, left_;
  uint4 weights_[ahead ? unit_chunks : 1][2];
};

/// A thread's outputs, of one channel of a tile. The two of a gate and its up are neighbours.
class RowOutputs {
 public:
  __device__ explicit RowOutputs(const Linear& a)
      : a_(a), channel_(static_cast<int>(threadIdx.x) % 16) {}

  /// The next is of this tile: asks for what it is added to.
  __device__ void ask(int tile) {
    target_ =
        a_.out + (a_.output == Output::silu_mul ? tile * 8 + channel_ / 2 : tile * 16 + channel_);
    if (a_.output == Output::add) before_ = *target_;
  }
  /// constants: of the tile. Warps do it together; there: whether this thread has any.
  template <class Sums>
  __device__ void store(const Sums& sums, const char* constants, int scale_bytes,
                        bool there) const {
    float value =
        with_bias(a_, reinterpret_cast<const float*>(constants + a_.planes * scale_bytes)[channel_],
                  product(sums, constants, 0));
    if (a_.output == Output::add) value = before_ + value;
    if (a_.planes > 1) value += product(sums, constants + scale_bytes, 1);
    if (a_.output == Output::silu_mul) {
      value = silu_mul(value, __shfl_xor_sync(0xffffffffu, value, 1));
      there = there && channel_ % 2 == 0;
    }
    if (there) *target_ = value;
  }

 private:
  template <class Sums>
  __device__ float product(const Sums& sums, const char* scales, int plane) const {
    return dequantize(sums.of_all(plane, channel_), a_.x.scale[plane],
                      reinterpret_cast<const float*>(scales)[channel_]);
  }

  const Linear& a_;
  int channel_;
  float* target_ = nullptr;
  float before_ = 0;
};

/// Goes through the block's tiles in turns: the warps wait for each other once a turn.
template <class Units, class Constants>
__device__ inline void multiply_row(const Linear& a, Units& units, RowOutputs& outputs,
                                    const Constants& constants, int* sums_memory) {
  constexpr int turn_threads = row_turn * 16, turn_words = TileSums::words(row_turn);
  const int step = static_cast<int>(gridDim.x), n_tiles = static_cast<int>(a.n_tiles);
  int index = static_cast<int>(threadIdx.x), place = 0, tile = static_cast<int>(blockIdx.x);
  int* sums = sums_memory;
  while (true) {
    const int own = tile + index / 16 * step;
    const bool there = index < turn_threads && own < n_tiles;
    if (there) outputs.ask(own);
    int count = 0;
#pragma unroll 1
    for (; count < row_turn && tile < n_tiles; ++count, tile += step)
      units.multiply(sums + TileSums::words(count));
    sync_workers();
    if (index < turn_threads) {
      const int number = min(index / 16, count - 1);
      int of_own = place + number * constants.tile_bytes;
      if (of_own >= constants.end) of_own -= constants.end;
      outputs.store(TileSums(sums + TileSums::words(number)), constants.data + of_own,
                    constants.scale_bytes, there);
    }
    if (tile >= n_tiles) return;
    index = (index - turn_threads) & (block_threads - 1);
    place += row_turn * constants.tile_bytes;
    if (place >= constants.end) place -= constants.end;
    sums = sums == sums_memory ? sums_memory + turn_words : sums_memory;
  }
}

/// The same for a slice: plan_decode() gives a cluster a tile for each of its blocks at most.
template <class Units, class Constants>
__device__ inline void multiply_slice(const Linear& a, Units& units, RowOutputs& outputs,
                                      const Constants& constants, const Slice& slice,
                                      int* sums_memory) {
  const int step = static_cast<int>(gridDim.x) / row_slices,
            first = static_cast<int>(blockIdx.x) / row_slices,
            n_tiles = static_cast<int>(a.n_tiles), own = first + Slice::rank() * step;
  const bool there = threadIdx.x < 16 && own < n_tiles;
  if (there) outputs.ask(own);
  int tiles = 0;
#pragma unroll 1
  for (int tile = first; tile < n_tiles; tile += step, ++tiles)
    units.multiply(sums_memory + tiles * TileSums::words(1));
  sync_workers();
  slice.exchange(sums_memory, tiles);
  if (threadIdx.x < 32)
    outputs.store(slice, constants.data + Slice::rank() * constants.tile_bytes,
                  constants.scale_bytes, there);
}

}  // namespace octet::kernels::cuda

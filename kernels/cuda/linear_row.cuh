#pragma once
// The decode multiplication of one row. Its time consists of the instructions between the row and
// the outputs, so the code is straight, and whatever can be is worked out before the row is there.
#include "kernels/cuda/linear_output.cuh"
#include "kernels/cuda/linear_slice.cuh"

namespace octet::kernels::cuda {

/// A warp's units in the ring of bulk copies, stage after stage. Behind the ring's stages lie the
/// barriers of those that are filled, then of those that are used. sm_90.
template <int unit_chunks>
class RingReader {
 public:
  __device__ RingReader(char* ring, int stages)
      : filled_(reinterpret_cast<CopyBarrier*>(ring + stages * stage_bytes)),
        weights_(reinterpret_cast<const uint4*>(ring) + threadIdx.x / 32 * unit_chunks * 64 +
                 threadIdx.x % 32),
        stages_(stages),
        left_(stages) {}

  /// Whether to look first whether there is any, as there always is: else the compiler spills.
  static constexpr bool looks_first = true;
  __device__ void begin(uint4 (&weights)[unit_chunks][2]) { read(weights); }
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
template <int unit_chunks, bool ahead, class Reader = RingReader<unit_chunks>,
          int warps_ = block_warps>
class RowUnits {
 public:
  static constexpr int warps = warps_;
  /// tiles: the block's, one at least.
  __device__ RowUnits(const QuantizedRows& x, int planes, int64_t k, int tiles,
                      const Reader& reader)
      : reader_(reader),
        x_(reinterpret_cast<const uint4*>(x.values + min(lane() / 4, planes - 1) * x.stride) +
           warp() * unit_chunks * 4 + lane() % 4),
        stages_(static_cast<int>(row_stages(k, unit_chunks, warps))),
        left_(tiles * stages_) {
    if constexpr (ahead)
      if (!Reader::looks_first || left_ > 0) reader_.begin(weights_);
  }
  /// Of the first unit, where the reader began with few chunks.
  template <int from, int to>
  __device__ void ask_more() {
    reader_.template begin_with<from, to>(weights_);
  }

  /// The warp's sums of the next tile, to its place among those of the tile (TileSums).
  __device__ void multiply(int* sums) {
    int even[4] = {}, odd[4] = {};
    const uint4* x = x_;
#pragma unroll 1
    for (int stage = 0; stage < stages_; ++stage, x += warps * unit_chunks * 4) {
      const auto multiply_chunk = [&](int c, const uint4& first, const uint4& second) {
        const uint4 values = x[c * 4];
        mma_s8(even, first, values.x, values.y);
        mma_s8(odd, second, values.z, values.w);
      };
      if constexpr (ahead) {
#pragma unroll
        for (int c = 0; c < unit_chunks; ++c) multiply_chunk(c, weights_[c][0], weights_[c][1]);
        if (--left_ > 0) reader_.read(weights_);
      } else {
        reader_.each(multiply_chunk);
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

  Reader reader_;
  const uint4* x_;
  int stages_, left_;
  uint4 weights_[ahead ? unit_chunks : 1][2];
};

/// Constants of a thread's channel in the tiles of a turn, which have come to shared memory with
/// the weights (Constants).
template <class Constants>
class ConstantsInPlace {
 public:
  /// Of a tile.
  struct Channel {
    const char* constants;
    int scale_bytes, bias_at;
    __device__ float scale(int plane) const { return at(plane * scale_bytes); }
    __device__ float bias() const { return at(bias_at); }
    __device__ float at(int place) const {
      return reinterpret_cast<const float*>(constants + place)[static_cast<int>(threadIdx.x) % 16];
    }
  };
  __device__ ConstantsInPlace(const Linear& a, const Constants& constants)
      : a_(a), constants_(constants) {}

  __device__ void ask(int /*tile*/) {}
  /// number: of the turn's tile.
  __device__ Channel of(int number) const {
    int place = place_ + number * constants_.tile_bytes;
    if (place >= constants_.end) place -= constants_.end;
    return at(place);
  }
  /// The same where all tiles are in one turn.
  __device__ Channel of_only_turn(int number) const { return at(number * constants_.tile_bytes); }
  __device__ void next_turn() {
    place_ += row_turn * constants_.tile_bytes;
    if (place_ >= constants_.end) place_ -= constants_.end;
  }

 private:
  __device__ Channel at(int place) const {
    return {constants_.data + place, constants_.scale_bytes, a_.planes * constants_.scale_bytes};
  }

  const Linear& a_;
  const Constants& constants_;
  int place_ = 0;
};

/// The same straight from memory: asked for with what an output is added to.
class ConstantsAhead {
 public:
  struct Channel {
    float scales[2], added;
    __device__ float scale(int plane) const { return scales[plane]; }
    __device__ float bias() const { return added; }
  };
  __device__ explicit ConstantsAhead(const Linear& a) : a_(a) {}

  __device__ void ask(int tile) {
    const int channel = tile * 16 + static_cast<int>(threadIdx.x % 16);
    of_turn_.scales[0] = static_cast<const float*>(a_.scale)[channel];
    if (a_.planes > 1) of_turn_.scales[1] = static_cast<const float*>(a_.rest_scale)[channel];
    if (a_.bias) of_turn_.added = a_.bias[channel];
  }
  __device__ const Channel& of(int /*number*/) const { return of_turn_; }
  __device__ void next_turn() {}

 private:
  const Linear& a_;
  Channel of_turn_{};
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
  /// Warps do it together; there: whether this thread has any.
  template <class Sums, class Channel>
  __device__ void store(const Sums& sums, const Channel& constants, bool there) const {
    float value = value_of(sums, constants);
    if (a_.output == Output::silu_mul) {
      value = silu_mul(value, __shfl_xor_sync(0xffffffffu, value, 1));
      there = there && channel_ % 2 == 0;
    }
    if (there) *target_ = value;
  }

 protected:
  /// Of a channel, where it is one of a gate and its up before these are one.
  template <class Sums, class Channel>
  __device__ float value_of(const Sums& sums, const Channel& constants) const {
    float value = with_bias(a_, constants.bias(), product(sums, constants, 0));
    if (a_.output == Output::add) value = before_ + value;
    if (a_.planes > 1) value += product(sums, constants, 1);
    return value;
  }
  __device__ float* target() const { return target_; }

 private:
  template <class Sums, class Channel>
  __device__ float product(const Sums& sums, const Channel& constants, int plane) const {
    return dequantize(sums.of_all(plane, channel_), a_.x.scale[plane], constants.scale(plane));
  }

  const Linear& a_;
  int channel_;
  float* target_ = nullptr;
  float before_ = 0;
};

/// What the outputs of the first turn need.
template <class Outputs, class Constants>
__device__ inline void ask_for_turn(const Linear& a, Outputs& outputs, Constants& constants) {
  const int index = static_cast<int>(threadIdx.x),
            own = static_cast<int>(blockIdx.x) + index / 16 * static_cast<int>(gridDim.x);
  if (index < row_turn * 16 && own < a.n_tiles) outputs.ask(own), constants.ask(own);
}

/// Goes through the block's tiles in turns: the warps wait for each other once a turn. asked:
/// whether what the outputs of the first turn need was asked for (ask_for_turn()).
template <bool asked = false, class Units, class Outputs, class Constants>
__device__ inline void multiply_row(const Linear& a, Units& units, Outputs& outputs,
                                    Constants& constants, int* sums_memory) {
  using Sums = WarpSums<Units::warps>;
  constexpr int threads = 32 * Units::warps, turn_threads = row_turn * 16,
                turn_words = Sums::words(row_turn);
  const int step = static_cast<int>(gridDim.x), n_tiles = static_cast<int>(a.n_tiles);
  int index = static_cast<int>(threadIdx.x), tile = static_cast<int>(blockIdx.x);
  int* sums = sums_memory;
  bool ask = !asked;
  while (true) {
    const int own = tile + index / 16 * step;
    const bool there = index < turn_threads && own < n_tiles;
    if (there && ask) outputs.ask(own), constants.ask(own);
    ask = true;
    int count = 0;
#pragma unroll 1
    for (; count < row_turn && tile < n_tiles; ++count, tile += step)
      units.multiply(sums + Sums::words(count));
    sync_workers<threads>();
    if (index < turn_threads) {
      const int number = min(index / 16, count - 1);
      outputs.store(Sums(sums + Sums::words(number)), constants.of(number), there);
    }
    if (tile >= n_tiles) return;
    index = static_cast<int>(static_cast<unsigned>(index + threads - turn_threads) % threads);
    constants.next_turn();
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
  if (threadIdx.x < 32) outputs.store(slice, constants.of_only_turn(Slice::rank()), there);
}

}  // namespace octet::kernels::cuda

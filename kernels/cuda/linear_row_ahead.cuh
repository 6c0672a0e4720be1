#pragma once
// The decode multiplication of one row before sm_80, which each block normalizes and quantizes. No
// part of a kernel runs beside the one before, so a block first asks for the row, and then for so
// many weights that nothing else waits for them; for more when its largest magnitude is known, and
// for the rest of its first unit when the row is quantized. In a chain (row_chain.cu) blocks wait
// for the row with their weights.
#include "kernels/cuda/linear_row.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {

/// What can be worked out before is: a block waits for every instruction before its first reads.
/// They need the first line of parameters only.
struct RowParameters {
  const uint4* weight;  // linear's
  int chunks, stages;   // of a tile
  RowSource source;
  Linear linear;
  int row_bytes;
  int tiles, blocks_of_more;    // of a block, of which so many have one more
  bool at_once;                 // RowPlan
  float* copy = nullptr;        // where outputs go besides, for blocks that wait for them
  uint32_t* readers = nullptr;  // AwaitedRow
  int blocks = 0;
};

/// A warp's units of the block's tiles, from memory to registers, of the first few chunks at first.
/// What is behind a tile's end stays as it is.
template <int unit_chunks, int warps, int early>
class MemoryReader {
 public:
  static constexpr bool looks_first = false;
  __device__ explicit MemoryReader(const RowParameters& p)
      : first_(static_cast<int>(threadIdx.x / 32) * unit_chunks),
        chunks_(p.chunks),
        stages_(p.stages),
        tile_(p.weight + (static_cast<int64_t>(blockIdx.x) * chunks_ + first_) * chunk_words +
              threadIdx.x % 32) {
    begin_tile();
  }

  __device__ void begin(uint4 (&weights)[unit_chunks][2]) { begin_with<0, early>(weights); }
  template <int from, int to>
  __device__ void begin_with(uint4 (&weights)[unit_chunks][2]) {
#pragma unroll
    for (int c = from; c < to; ++c) weights[c][0] = weights[c][1] = make_uint4(0, 0, 0, 0);
    read_chunks<from, to>(weights);
  }
  __device__ void read(uint4 (&weights)[unit_chunks][2]) {
    read_chunks<0, unit_chunks>(weights);
  }

 private:
  static constexpr int chunk_words = chunk_bytes / 16;
  template <int from, int to>
  __device__ void read_chunks(uint4 (&weights)[unit_chunks][2]) {
#pragma unroll
    for (int c = from; c < to; ++c)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        load_streaming_if(c < there_, from_ + c * chunk_words + half * 32, weights[c][half]);
    if constexpr (to == unit_chunks) next();
  }
  __device__ void begin_tile() {
    from_ = tile_;
    there_ = chunks_ - first_;
    left_ = stages_;
  }
  __device__ void next() {
    if (--left_ > 0) {
      from_ += warps * unit_chunks * chunk_words;
      there_ -= warps * unit_chunks;
      return;
    }
    tile_ += static_cast<int64_t>(gridDim.x) * chunks_ * chunk_words;
    begin_tile();
  }

  int first_, chunks_, stages_;
  const uint4 *tile_, *from_;  // this lane's of a tile's first unit, of the next
  int there_, left_;           // chunks from the next unit on; units of the tile
};

/// Outputs, of which blocks that wait for them have a copy.
class CopiedOutputs : public RowOutputs {
 public:
  __device__ CopiedOutputs(const Linear& a, float* copy)
      : RowOutputs(a), out_(a.out), copy_(copy) {}
  template <class Sums, class Channel>
  __device__ void store(const Sums& sums, const Channel& constants, bool there) const {
    const float value = value_of(sums, constants);
    if (!there) return;
    *target() = value;
    if (copy_) store_shared_by_all(copy_ + (target() - out_), value);
  }

 private:
  float *out_, *copy_;
};

/// A row that blocks of the grid wait for. The last of them to have it leaves it missing again:
/// `readers` counts them, from missing_word on.
class AwaitedRow {
 public:
  /// A thread's places, once no value is missing.
  template <int held, int threads>
  __device__ static void wait(const RowSource& source, HeldPlaces<held, threads>& places) {
    const auto* x = reinterpret_cast<const uint4*>(source.values);
    const auto quads = static_cast<int>(source.k / 4);
    uint4 read[held];
#pragma unroll
    for (int j = 0; j < held; ++j)
      read[j] = make_uint4(spread_place<threads>(j) < quads ? missing_word : 0, 0, 0, 0);
    bool missing = true;
    while (missing) {
      missing = false;
#pragma unroll
      for (int j = 0; j < held; ++j)
        if (is_missing(read[j])) read[j] = load_shared_by_all(x + spread_place<threads>(j));
#pragma unroll
      for (int j = 0; j < held; ++j) missing |= is_missing(read[j]);
    }
    __syncwarp();
#pragma unroll
    for (int j = 0; j < held; ++j)
      places.value[j] = make_float4(__uint_as_float(read[j].x), __uint_as_float(read[j].y),
                                    __uint_as_float(read[j].z), __uint_as_float(read[j].w));
  }

  /// Behind a barrier: the block has it.
  __device__ explicit AwaitedRow(const RowParameters& p) : p_(p) {
    if (threadIdx.x == 0) before_ = atomicAdd(p.readers, 1u);
  }
  __device__ void leave() const {
    if (threadIdx.x >= 32) return;
    const uint32_t before = __shfl_sync(0xffffffffu, before_, 0);
    if (before - missing_word + 1 != static_cast<uint32_t>(p_.blocks)) return;
    auto* x = reinterpret_cast<uint4*>(const_cast<float*>(p_.source.values));
    const auto quads = static_cast<int>(p_.source.k / 4);
    for (int i = static_cast<int>(threadIdx.x); i < quads; i += 32)
      x[i] = make_uint4(missing_word, missing_word, missing_word, missing_word);
    if (threadIdx.x == 0) *p_.readers = missing_word;
  }

 private:
  const RowParameters& p_;
  uint32_t before_ = 0;
};

/// What a multiplication has to do with others of its grid. waits: for its row.
template <bool waits_, bool copies>
struct RowLinks {
  static constexpr bool waits = waits_;
  __device__ static auto outputs(const Linear& a, const RowParameters& p) {
    if constexpr (copies)
      return CopiedOutputs(a, p.copy);
    else
      return RowOutputs(a);
  }
};

/// held: of a thread (SpreadRow); residents: blocks of a multiprocessor. p: the kernel's.
template <int warps, int unit_chunks, int held, int residents, class Links = RowLinks<false, false>>
__device__ inline void multiply_row_ahead(const RowParameters& p) {
  constexpr int threads = 32 * warps, part = chunks_on_their_way / (warps * residents),
                early = unit_chunks < part ? unit_chunks : part,
                middle = unit_chunks < 2 * part ? unit_chunks : 2 * part;
  const bool at_once = residents > 1 && p.at_once;
  using Reader = MemoryReader<unit_chunks, warps, early>;
  HeldPlaces<held, threads> places;
  if constexpr (!Links::waits) places = HeldPlaces<held, threads>(p.source, 0);
  const FirstNorms norms(p.source);
  Linear a = p.linear;
  char* const sums = dynamic_shared<char>();
  a.x.values = reinterpret_cast<int8_t*>(sums) + row_sum_bytes(warps);
  a.x.stride = p.row_bytes;
  a.x.scale = reinterpret_cast<float*>(a.x.values + a.planes * p.row_bytes);
  const int tiles = p.tiles + (static_cast<int>(blockIdx.x) < p.blocks_of_more ? 1 : 0);
  RowUnits<unit_chunks, true, Reader, warps> units(a.x, a.planes, a.k, tiles, Reader(p));
  if constexpr (early < unit_chunks)
    if (at_once) units.template ask_more<early, unit_chunks>();
  auto outputs = Links::outputs(a, p);
  ConstantsAhead constants(a);
  ask_for_turn(a, outputs, constants);
  // Of one stage the weights that are not there are zeros.
  if (p.stages > 1)
    clear_behind(a.x, a.planes, p.chunks * int{chunk_k},
                 p.stages * warps * unit_chunks * int{chunk_k});
  const auto ask_meanwhile = [&](float absmax, int plane) {
    if constexpr (early < unit_chunks)
      if (plane == 0 && !at_once) units.template ask_more<early, middle>();
    return absmax;
  };
  if constexpr (Links::waits) AwaitedRow::wait(p.source, places);
  __shared__ float shared[3][warps];
  const SpreadRow<held, true, threads> row(p.source, 0, places, norms, shared[0],
                                           reinterpret_cast<float4*>(sums));
  quantize_spread_row<false, PlaneRow>(p.source, row, 0, 1, a.x, shared, ask_meanwhile);
  if constexpr (middle < unit_chunks)
    if (!at_once) units.template ask_more<middle, unit_chunks>();
  if constexpr (Links::waits) {
    const AwaitedRow awaited(p);
    multiply_row<true>(a, units, outputs, constants, reinterpret_cast<int*>(sums));
    awaited.leave();
  } else {
    multiply_row<true>(a, units, outputs, constants, reinterpret_cast<int*>(sums));
  }
}

inline RowParameters row_parameters(const Linear& linear, const RowSource& source,
                                    const RowPlan& plan) {
  const auto n_tiles = static_cast<int>(linear.n_tiles);
  return {static_cast<const uint4*>(linear.weight),
          static_cast<int>(num_chunks(linear.k)),
          plan.stages,
          source,
          linear,
          plan.row_bytes,
          n_tiles / plan.blocks,
          n_tiles % plan.blocks,
          plan.at_once};
}

}  // namespace octet::kernels::cuda

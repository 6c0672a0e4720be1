// Matrix multiplication for few rows: bound by reading the weights. A block of 8 warps computes a
// tile of 16 channels at a time; the warps share out K, and each weight goes once from memory
// through shared memory (sm_75: registers) to the tensor cores, for up to 32 rows (mma has columns
// for 8, so the rows up to 8 cost nothing). Blocks stay and take tile after tile.
#include <type_traits>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_output.cuh"
#include "kernels/cuda/linear_pair.cuh"
#include "kernels/cuda/linear_row.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {
namespace {

/// Sums of a tile of 16 channels x 8 rows.
constexpr int tile_sums = 128;

struct Parameters {
  Linear linear;
  RowSource source;  // where fused
  int ring_bytes, in_flight, early, constant_tiles;
  bool staged;
  int slice_chunks;  // where sliced
};

/// How a block's input is quantized, if it is: a row that its threads hold in few registers, a
/// longer one, or its block's slice of one. Or it has a slice of rows that are quantized, or of
/// which each warp quantizes what it multiplies.
enum class Fused : uint8_t { no, row, long_row, slice, no_but_slices, slice_by_warps };
/// Whether the blocks of a cluster have a slice each.
constexpr bool is_sliced(Fused fused) {
  return fused == Fused::slice || fused == Fused::no_but_slices || fused == Fused::slice_by_warps;
}
/// Whether the block has a row to quantize.
constexpr bool is_fused(Fused fused) {
  return fused == Fused::row || fused == Fused::long_row || fused == Fused::slice;
}
constexpr int held(Fused fused) {
  return fused == Fused::slice ? 4 : fused == Fused::long_row ? 10 : 2;
}

/// A warp's units of a tile, each `chunks` of K: the warps take them in turns.
template <int unit_chunks>
struct WarpUnits {
  int chunks, units;  // of a tile
  __device__ explicit WarpUnits(const Linear& a)
      : chunks(static_cast<int>(num_chunks(a.k))),
        units((chunks + unit_chunks - 1) / unit_chunks) {}
  __device__ static int first() { return static_cast<int>(threadIdx.x) / 32; }
  __device__ static int after(int unit) { return unit + block_warps; }
  /// Only a tile's last unit may have fewer.
  __device__ bool has(int unit, int chunk) const { return unit * unit_chunks + chunk < chunks; }
};

/// Scales and biases of tiles in shared memory: the planes' scales, then the biases. Places are
/// taken in turns.
struct Constants {
  char* data;
  int scale_bytes;  // of a plane
  int tile_bytes, end;

  __device__ Constants(const Linear& a, int tiles, char* shared)
      : data(shared),
        scale_bytes(static_cast<int>(tile_scale_bytes(a.k, a.grouped))),
        tile_bytes(a.planes * scale_bytes + tile_bias_bytes),
        end(tile_bytes * tiles) {}
  __device__ int after(int place) const {
    return place + tile_bytes == end ? 0 : place + tile_bytes;
  }

  /// copy(to, from, bytes) for each part of a tile's.
  template <class Copy>
  __device__ void each(const Linear& a, int64_t tile, int place, Copy copy) const {
    for (int plane = 0; plane < a.planes; ++plane, place += scale_bytes)
      copy(data + place,
           static_cast<const char*>(plane == 0 ? a.scale : a.rest_scale) + tile * scale_bytes,
           scale_bytes);
    if (a.bias)
      copy(data + place, reinterpret_cast<const char*>(a.bias + tile * 16), tile_bias_bytes);
  }
};

/// Where this warp's units lie, tile after tile.
template <int unit_chunks>
class UnitPath {
 public:
  __device__ explicit UnitPath(const Linear& a)
      : a_(a),
        units_(a),
        from_(static_cast<const uint4*>(a.weight) + threadIdx.x % 32),
        tile_(blockIdx.x),
        unit_(units_.first()) {
    from_ += (tile_ * units_.chunks + unit_ * unit_chunks) * 64;
    if (unit_ >= units_.units) tile_ = a.n_tiles;  // none for this warp
  }
  __device__ bool ended() const { return tile_ >= a_.n_tiles; }
  __device__ bool begins_tile() const { return unit_ == 0; }
  __device__ int64_t tile() const { return tile_; }
  /// This lane's words of half a chunk. Past the tile's end lie other weights, or as many bytes of
  /// the allocation's end.
  __device__ const uint4* piece(int half_chunk) const { return from_ + half_chunk * 32; }
  __device__ void next() {
    from_ += block_warps * unit_chunks * 64;
    unit_ = units_.after(unit_);
    if (unit_ < units_.units) return;
    from_ +=
        (static_cast<int64_t>(gridDim.x) * units_.chunks - (unit_ - units_.first()) * unit_chunks) *
        64;
    unit_ = units_.first();
    tile_ += gridDim.x;
  }

 private:
  const Linear& a_;
  WarpUnits<unit_chunks> units_;
  const uint4* from_;
  int64_t tile_;
  int unit_;
};

/// Brings the weights of this warp's units one unit before their use, in registers, and with a
/// tile's first unit its scales and biases. Before sm_80.
template <int unit_chunks_>
class RegisterFeed {
 public:
  static constexpr int unit_chunks = unit_chunks_;
  static constexpr bool apart = false;
  __device__ RegisterFeed(const Linear& a, const Constants& constants)
      : a_(a), path_(a), constants_(constants) {
    start();
  }

  __device__ void wait() {}
  __device__ void read(int chunk, uint4 (&weights)[2]) const {
    weights[0] = weights_[2 * chunk];
    weights[1] = weights_[2 * chunk + 1];
  }
  __device__ void refill() {
    store_constants();
    start();
  }
  __device__ void skip() {}
  __device__ void hurry() {}

 private:
  __device__ void start() {
    if (path_.ended()) return;
#pragma unroll
    for (int i = 0; i < 2 * unit_chunks; ++i) weights_[i] = load_streaming(path_.piece(i));
    if (path_.begins_tile()) ask_for_constants();
    path_.next();
  }
  /// A piece of 16 bytes a lane; only where there are more is one waited for.
  __device__ void ask_for_constants() {
    int piece = static_cast<int>(threadIdx.x) % 32;
    constants_.each(a_, path_.tile(), place_, [&](char* to, const char* from, int bytes) {
#pragma unroll 1
      for (; piece * 16 < bytes; piece += 32) {
        store_constants();
        copy_.start(0, to + piece * 16, from + piece * 16);
        copying_ = true;
      }
      piece -= bytes / 16;
    });
    place_ = constants_.after(place_);
  }
  __device__ void store_constants() {
    if (copying_) copy_.store();
    copying_ = false;
  }

  const Linear& a_;
  UnitPath<unit_chunks> path_;
  const Constants& constants_;
  uint4 weights_[2 * unit_chunks];
  int place_ = 0;
  Copies<1> copy_;
  bool copying_ = false;
};

/// The same by copies to shared memory, `ahead` units before their use. Each thread copies the
/// weights that it will read itself, so that no barrier is needed. Little code, as each block of
/// threads runs it from memory. Before sm_90.
template <int unit_chunks_, int ahead>
class Feed {
 public:
  static constexpr int unit_chunks = unit_chunks_;
  static constexpr bool apart = false;
  __device__ Feed(const Linear& a, uint4* ring, int ring_bytes, const Constants& constants)
      : a_(a),
        path_(a),
        constants_(constants),
        ring_(ring + threadIdx.x),
        ring_end_(ring_bytes / 16) {
#pragma unroll 1
    for (int i = 0; i < ahead; ++i) start();
  }

  /// Waits for the next unit.
  __device__ void wait() {
    wait_copies<ahead - 1>();
  }
  /// This lane's words of one of its chunks.
  __device__ void read(int chunk, uint4 (&weights)[2]) const {
    const uint4* place = ring_ + next_ + chunk * 2 * block_threads;
    weights[0] = place[0];
    weights[1] = place[block_threads];
  }
  /// Once the unit is used: its place is filled again.
  __device__ void refill() {
    start();
    next_ = advance(next_);
  }
  /// In place of a unit that this warp has none of.
  __device__ void skip() {}
  __device__ void hurry() {}

 private:
  static constexpr int unit_pieces = unit_chunks * 2;  // of a thread
  __device__ int advance(int place) const {
    const int next = place + unit_pieces * block_threads;
    return next == ring_end_ ? 0 : next;
  }
  __device__ void start() {
    if (!path_.ended()) {
      if (path_.begins_tile()) {
        constants_.each(a_, path_.tile(), constants_place_, copy_bytes);
        constants_place_ = constants_.after(constants_place_);
      }
      Copies<unit_pieces, uint4, true> copies;
#pragma unroll
      for (int i = 0; i < unit_pieces; ++i)
        copies.start(i, ring_ + place_ + i * block_threads, path_.piece(i));
      place_ = advance(place_);
      path_.next();
    }
    commit_copies();
  }
  __device__ static void copy_bytes(char* to, const char* from, int bytes) {
    Copies<1> copies;
#pragma unroll 1
    for (int i = threadIdx.x % 32 * 16; i < bytes; i += 32 * 16) copies.start(0, to + i, from + i);
  }

  const Linear& a_;
  UnitPath<unit_chunks> path_;
  const Constants& constants_;
  uint4* ring_;
  int ring_end_;
  int place_ = 0, next_ = 0;  // in the ring: of the unit to ask for, of the next to use
  int constants_place_ = 0;
};

/// The same from sm_90 on, for `sharers` blocks that have the same tiles each: a warp that does
/// nothing else brings stages of a unit for each of the others, or, where these work `apart`, each
/// of a tile for a pair of them, whatever they are waiting for. No more than so many stages are on
/// their way at a time, and where `hurried` fewer before the input is there: what kernels before
/// still read would come the later (docs/performance/cuda.md), and the ring is full in the end all
/// the same.
template <int unit_chunks_, int sharers, bool hurried, bool apart_>
class BulkFeed {
 public:
  static constexpr int unit_chunks = unit_chunks_, stage_bytes = decode_stage_bytes(unit_chunks);
  static constexpr bool apart = apart_;

  /// tile_bytes: from tile to tile.
  __device__ BulkFeed(const Linear& a, int tile_bytes, char* ring, int ring_bytes, int in_flight,
                      int early, const Constants& constants)
      : a_(a),
        tile_bytes_(tile_bytes),
        constants_(constants),
        ring_(ring),
        stages_(decode_stages(ring_bytes, unit_chunks)),
        in_flight_(in_flight),
        early_(early),
        filled_(reinterpret_cast<CopyBarrier*>(ring + stages_ * stage_bytes)),
        used_(filled_ + stages_) {
    if (threadIdx.x == 0) {
      if constexpr (hurried) store_relaxed(input_flag(), 0);
      for (int i = 0; i < stages_; ++i) {
        filled_[i].init(1);
        used_[i].init(apart ? 2 : block_warps);
      }
      CopyBarrier::made();
    }
    __syncthreads();
    if (apart && threadIdx.x < block_threads) stage_ = WarpPair::number();
  }

  /// All stages of the block's tiles, by one thread.
  __device__ void fill() {
    const int tile_bytes = static_cast<int>(num_chunks(a_.k)) * chunk_bytes;
    int place = 0, behind = 0, behind_parity = 0, on_their_way = 0;
    bool refilling = false;
    for (int64_t tile = blockIdx.x / sharers; tile < a_.n_tiles; tile += gridDim.x / sharers) {
      const char* from = static_cast<const char*>(a_.weight) + tile * tile_bytes_;
#pragma unroll 1
      for (int at = 0; at < tile_bytes; at += stage_bytes, ++on_their_way) {
        for (; on_their_way >= allowed(); --on_their_way) {
          filled_[behind].wait(behind_parity);
          if (++behind == stages_) behind = 0, behind_parity ^= 1;
        }
        if (refilling) used_[stage_].wait(parity_ ^ 1);
        fill_stage(from + at, min(tile_bytes - at, stage_bytes), at == 0 ? tile : -1, place);
        next();
        refilling |= stage_ == 0;
      }
      place = constants_.after(place);
    }
  }

  /// The input is there: what multiplies waits for nothing but weights.
  __device__ void hurry() {
    if constexpr (hurried) store_relaxed(input_flag(), 1);
  }

  __device__ void wait() {
    // Another pair had the stage before: until it is done, the phase before may seem to be the
    // next.
    if constexpr (apart) used_[stage_].wait(parity_ ^ 1);
    filled_[stage_].wait(parity_);
  }
  __device__ void read(int chunk, uint4 (&weights)[2]) const {
    const int first = apart ? 0 : static_cast<int>(threadIdx.x) / 32 * unit_chunks;
    const auto* place = reinterpret_cast<const uint4*>(ring_ + stage_ * stage_bytes) +
                        (first + chunk) * 64 + threadIdx.x % 32;
    weights[0] = place[0];
    weights[1] = place[32];
  }
  __device__ void refill() {
    __syncwarp();
    if (threadIdx.x % 32 == 0) used_[stage_].arrive();
    if constexpr (apart)
      next_of_pair();
    else
      next();
  }
  __device__ int tiles() const {
    const int first = static_cast<int>(blockIdx.x) / sharers,
              step = static_cast<int>(gridDim.x) / sharers;
    return (static_cast<int>(a_.n_tiles) - first + step - 1) / step;
  }
  __device__ RingReader<unit_chunks> reader() const {
    return {ring_, stages_};
  }
  /// A tile's constants come with a stage that each warp has waited for.
  __device__ void skip() {
    wait();
    refill();
  }

 private:
  __device__ static uint32_t* input_flag() {
    __shared__ uint32_t flag;
    return &flag;
  }
  /// Stages on their way.
  __device__ int allowed() const {
    if constexpr (hurried) return load_relaxed(input_flag()) ? in_flight_ : early_;
    return in_flight_;
  }
  __device__ void next() {
    if (++stage_ == stages_) stage_ = 0, parity_ ^= 1;
  }
  /// There are as many stages as pairs at least.
  __device__ void next_of_pair() {
    stage_ += WarpPair::count;
    if (stage_ >= stages_) stage_ -= stages_, parity_ ^= 1;
  }
  /// tile: whose constants come too, or -1.
  __device__ void fill_stage(const char* from, int bytes, int64_t tile, int place) {
    CopyBarrier& filled = filled_[stage_];
    const int of_constants = tile < 0 ? 0 : constants_.tile_bytes - (a_.bias ? 0 : tile_bias_bytes);
    filled.expect(bytes + of_constants);
    filled.copy(ring_ + stage_ * stage_bytes, from, bytes);
    if (tile >= 0)
      constants_.each(a_, tile, place, [&](char* to, const char* constant, int size) {
        filled.copy(to, constant, size);
      });
  }

  const Linear& a_;
  int tile_bytes_;
  const Constants& constants_;
  char* ring_;
  int stages_, in_flight_, early_;
  CopyBarrier *filled_, *used_;
  int stage_ = 0, parity_ = 0;
};

/// This lane's activations: row lane / 4 of each column of 8 rows.
template <int columns>
class Inputs {
 public:
  __device__ explicit Inputs(const Linear& a)
      : stride_(static_cast<int>(a.x.stride)), there_(static_cast<int>(a.rows) * a.planes - row()) {
    x_ = a.x.values + row() * a.x.stride + threadIdx.x % 4 * 16;
  }
  __device__ uint4 read(int column, int chunk) const {
    return 8 * column < there_
               ? *reinterpret_cast<const uint4*>(x_ + column * 8 * stride_ + chunk * int{chunk_k})
               : make_uint4(0, 0, 0, 0);
  }

 private:
  __device__ static int row() { return static_cast<int>(threadIdx.x) % 32 / 4; }
  const int8_t* x_;
  int stride_, there_;  // rows from this lane's first on
};

/// The activations of this warp's units, read when they are needed.
template <int columns, int unit_chunks_>
class InputsAtHand {
 public:
  static constexpr int unit_chunks = unit_chunks_;
  __device__ InputsAtHand(const Linear& a, const WarpUnits<unit_chunks>&) : inputs_(a) {}
  __device__ uint4 read(int unit, int chunk, int column) const {
    return inputs_.read(column, unit * unit_chunks + chunk);
  }
  __device__ void ask_behind(int) {}

 private:
  Inputs<columns> inputs_;
};

/// The same in registers: a unit's are asked for while the one before is multiplied. A warp that
/// has one unit of each tile reads them once.
template <int columns, int unit_chunks_>
class InputsAhead {
 public:
  static constexpr int unit_chunks = unit_chunks_;
  __device__ InputsAhead(const Linear& a, const WarpUnits<unit_chunks>& units)
      : inputs_(a), units_(units) {
    if (units.first() < units.units) ask(units.first());
  }
  __device__ const uint4& read(int, int chunk, int column) const { return x_[chunk][column]; }
  /// For the unit behind `unit`, once this one's are used.
  __device__ void ask_behind(int unit) {
    if (units_.units <= block_warps) return;
    const int next = units_.after(unit);
    ask(next < units_.units ? next : units_.first());
  }

 private:
  __device__ void ask(int unit) {
#pragma unroll
    for (int c = 0; c < unit_chunks; ++c) {
      if (!units_.has(unit, c)) break;
#pragma unroll
      for (int column = 0; column < columns; ++column)
        x_[c][column] = inputs_.read(column, unit * unit_chunks + c);
    }
  }

  Inputs<columns> inputs_;
  const WarpUnits<unit_chunks>& units_;
  uint4 x_[unit_chunks][columns];
};

/// The activations of this warp's units, up to held_units of a tile, of up to 8 rows that have
/// peaks: it quantizes them itself. Where they lie is worked out before they are there.
template <int unit_chunks_, int held_units>
class InputsByWarps {
  static_assert(held_units <= 2);
  static constexpr int pieces = chunk_k / 4;     // of four values, of a row's chunk
  static constexpr int reads = 8 * pieces / 32;  // of a lane and chunk: neighbours have neighbours
  static constexpr int rows_a_read = 32 / pieces;

 public:
  static constexpr int unit_chunks = unit_chunks_;
  __device__ InputsByWarps(const Linear& a, const RowSource& source,
                           const WarpUnits<unit_chunks>& units)
      : from_(reinterpret_cast<const float4*>(source.values) +
              units.first() * unit_chunks * pieces + lane() % pieces),
        rows_(static_cast<int>(a.rows)),
        chunks_left_(units.chunks - units.first() * unit_chunks) {
    // Of rows that are not there, another.
#pragma unroll
    for (int i = 0; i < reads; ++i)
      at_[i] = min(row(i), rows_ - 1) * static_cast<int>(source.stride / 4);
  }

  /// Behind the kernels before. a.x.scale: for the rows' scales, which a barrier makes known to
  /// others. sums: the warps' places, which they do not need yet.
  __device__ void take(const Linear& a, const RowSource& source, int* sums) {
    float4 read[unit_chunks][reads];
    ask(0, read);
    const int row_of_lane = min(lane() / 4, rows_ - 1);
    const float absmax = absmax_of_quad(source, row_of_lane);
    const Quantizer of_lane(absmax);
    float inverse[reads];
#pragma unroll
    for (int i = 0; i < reads; ++i)
      inverse[i] = __shfl_sync(0xffffffffu, of_lane.inverse, 4 * row(i));
#pragma unroll
    for (int held = 0; held < held_units; ++held) {
#pragma unroll
      for (int c = 0; c < unit_chunks; ++c)
        x_[held][c] = in_order(read[c], inverse, place_of_warp(sums, held * unit_chunks + c));
      if (held + 1 < held_units) ask(held + 1, read);
    }
    if (threadIdx.x >= 32 || lane() % 4 > 0 || lane() / 4 >= rows_) return;
    a.x.scale[row_of_lane] = of_lane.scale;
    if (blockIdx.x == 0) note_absmax(source.check, absmax);
  }

  __device__ uint4 read(int unit, int chunk, int /*column*/) const {
    const uint4 &first = x_[0][chunk], &last = x_[held_units - 1][chunk];
    const bool is_first = unit < block_warps;
    return make_uint4(is_first ? first.x : last.x, is_first ? first.y : last.y,
                      is_first ? first.z : last.z, is_first ? first.w : last.w);
  }
  __device__ void ask_behind(int) {}

 private:
  __device__ static int lane() {
    return static_cast<int>(threadIdx.x) % 32;
  }
  __device__ static int row(int i) {
    return i * rows_a_read + lane() / pieces;
  }
  /// Of two in turns.
  __device__ static uint32_t* place_of_warp(int* sums, int turn) {
    return reinterpret_cast<uint32_t*>(sums) +
           (turn % decode_buffers(1) * block_warps + threadIdx.x / 32) * tile_sums;
  }

  __device__ void ask(int held, float4 (&read)[unit_chunks][reads]) const {
#pragma unroll
    for (int c = 0; c < unit_chunks; ++c) {
      const int chunk = held * block_warps * unit_chunks + c;
#pragma unroll
      for (int i = 0; i < reads; ++i)
        read[c][i] =
            chunk < chunks_left_ ? from_[at_[i] + chunk * pieces] : make_float4(0, 0, 0, 0);
    }
  }
  /// A chunk's values, quantized, as the lanes multiply them.
  __device__ static uint4 in_order(const float4 (&values)[reads], const float (&inverse)[reads],
                                   uint32_t* place) {
#pragma unroll
    for (int i = 0; i < reads; ++i) {
      Quantizer quantize;
      quantize.inverse = inverse[i];
      place[i * 32 + lane()] = quantize(values[i]);
    }
    __syncwarp();
    return reinterpret_cast<const uint4*>(place)[lane()];
  }

  const float4* from_;
  int rows_, chunks_left_;  // from this warp's first on
  int at_[reads];
  uint4 x_[held_units][unit_chunks];
};

/// sums += the next unit's weights x activations.
template <int columns, int unit_chunks, class Inputs, class Feed>
__device__ inline void multiply_unit(const WarpUnits<unit_chunks>& units, int unit, Inputs& inputs,
                                     Feed& feed, int (&sums)[columns][4]) {
  feed.wait();
#pragma unroll
  for (int c = 0; c < unit_chunks; ++c) {
    if (c > 0 && !units.has(unit, c)) break;
    uint4 weights[2];
    feed.read(c, weights);
#pragma unroll
    for (int column = 0; column < columns; ++column) {
      const uint4 x = inputs.read(unit, c, column);
      mma_s8(sums[column], weights[0], x.x, x.y);
      mma_s8(sums[column], weights[1], x.z, x.w);
    }
  }
  inputs.ask_behind(unit);
  feed.refill();
}

/// The warps' sums in shared memory: [warp][column][lane][4]. They come in turns, so that one
/// barrier a turn is enough.
template <int columns>
class SharedSums {
 public:
  __device__ explicit SharedSums(int* shared) : shared_(shared) {}

  /// Puts this warp's sums beside the others'.
  __device__ void share(const int (&of_warp)[columns][4]) {
    constexpr int buffers = decode_buffers(columns);
    if (buffers == 1) sync_workers();
    turn_ = shared_ + number_++ % buffers * warp_sums * block_warps;
    auto* to = reinterpret_cast<int4*>(turn_ + threadIdx.x / 32 * warp_sums) + threadIdx.x % 32;
#pragma unroll
    for (int c = 0; c < columns; ++c)
      to[c * 32] = make_int4(of_warp[c][0], of_warp[c][1], of_warp[c][2], of_warp[c][3]);
    sync_workers();
  }
  __device__ int of_warp(int warp, int row, int channel) const {
    return turn_[warp * warp_sums + place_of_sum(row, channel)];
  }
  __device__ int of_all(int row, int channel) const {
    int sum = 0;
#pragma unroll
    for (int w = 0; w < block_warps; ++w) sum += of_warp(w, row, channel);
    return sum;
  }
  /// Those of place i of [columns][lanes].
  __device__ int4 of_place(int i) const {
    int4 sum = make_int4(0, 0, 0, 0);
#pragma unroll
    for (int w = 0; w < block_warps; ++w) {
      const int4 more = reinterpret_cast<const int4*>(turn_ + w * warp_sums)[i];
      sum = make_int4(sum.x + more.x, sum.y + more.y, sum.z + more.z, sum.w + more.w);
    }
    return sum;
  }

 private:
  static constexpr int warp_sums = columns * tile_sums;
  int *shared_, *turn_ = nullptr;
  int number_ = 0;
};

/// The outputs of a tile that a thread makes: of one channel, or of a gate and the up beside it, in
/// `places` rows. Where few threads have any, those of another warp do in the next tile.
template <int columns, bool grouped>
class Outputs {
  static constexpr int places = columns == 4 ? 2 : 1;

 public:
  /// number: of the tile, counted by the block.
  __device__ Outputs(const Linear& a, int64_t tile, int number)
      : a_(a), paired_(a.output == Output::silu_mul) {
    const int index = (static_cast<int>(threadIdx.x) - number * 32) & (block_threads - 1);
    row_ = paired_ ? index / 8 : index / 16;
    channel_ = paired_ ? index % 8 * 2 : index % 16;
    out_ = a.out + (paired_ ? (tile * 16 + channel_) / 2 : tile * 16 + channel_);
#pragma unroll
    for (int p = 0; p < places; ++p)
      before_[p] = a.output == Output::add && there(p) ? *target(p) : 0.0f;
  }

  /// constants: of the tile; they have come with the sums.
  template <class Sums>
  __device__ void store(const Sums& sums, const char* constants, int scale_bytes) const {
    const auto product = [&](int p, int i, int plane) {
      const int x_row = row(p) + plane * static_cast<int>(a_.rows);
      if constexpr (grouped)
        return values_[p][i][plane];
      else
        return dequantize(
            sums.of_all(x_row, channel_ + i), a_.x.scale[x_row],
            reinterpret_cast<const float*>(constants + plane * scale_bytes)[channel_ + i]);
    };
    const auto* bias = reinterpret_cast<const float*>(constants + a_.planes * scale_bytes);
    const auto value = [&](int p, int i, float before) {
      float v = with_bias(a_, bias[channel_ + i], product(p, i, 0));
      if (a_.output == Output::add) v = before + v;
      return a_.planes > 1 ? v + product(p, i, 1) : v;
    };
#pragma unroll
    for (int p = 0; p < places; ++p) {
      if (!there(p)) return;
      const float first = value(p, 0, before_[p]);
      *target(p) = paired_ ? silu_mul(first, value(p, 1, 0)) : first;
    }
  }

  /// The sums of groups first, first + 1, ..., one a warp, are added in rising order.
  __device__ void add_groups(const SharedSums<columns>& sums, const char* constants,
                             int scale_bytes, int first) {
    const int groups = static_cast<int>(num_groups(a_.k));
#pragma unroll
    for (int p = 0; p < places; ++p) {
      if (!there(p)) return;
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int plane = 0; plane < 2; ++plane) {
          if ((i > 0 && !paired_) || plane >= a_.planes) continue;
          const int x_row = row(p) + plane * static_cast<int>(a_.rows);
          const auto* scale = reinterpret_cast<const uint16_t*>(constants + plane * scale_bytes) +
                              first * 16 + channel_ + i;
          const float* x_scale = a_.x.scale + x_row * groups + first;
#pragma unroll
          for (int g = 0; g < block_warps; ++g)
            if (first + g < groups)
              values_[p][i][plane] = add_group(sums.of_warp(g, x_row, channel_ + i), x_scale[g],
                                               bfloat16_value(scale[g * 16]), values_[p][i][plane]);
        }
    }
  }

 private:
  __device__ int row(int p) const {
    return row_ + p * 16;
  }  // two only where not paired
  __device__ bool there(int p) const {
    return (p == 0 || !paired_) && row(p) < a_.rows;
  }
  __device__ float* target(int p) const {
    return out_ + row(p) * a_.out_stride;
  }

  const Linear& a_;
  bool paired_;
  int row_, channel_;
  float* out_;
  float before_[places];
  float values_[places][2][2] = {};  // grouped: [gate, up][plane]
};

/// Goes through the tiles of a pair of warps.
template <int columns, class Feed>
__device__ inline void multiply_apart(const Linear& a, Feed& feed, const Constants& constants,
                                      int* sums_memory) {
  const Inputs<columns> inputs(a);
  const int chunks = static_cast<int>(num_chunks(a.k)), half = (chunks + 1) / 2;
  const int first = WarpPair::second() * half, end = min(first + half, chunks);
  int number = WarpPair::number();
  uint32_t peak = 0;
  for (int64_t tile = blockIdx.x + int64_t{gridDim.x} * number; tile < a.n_tiles;
       tile += int64_t{gridDim.x} * WarpPair::count, number += WarpPair::count) {
    int sums[columns][4] = {};
    feed.wait();
#pragma unroll(columns < 4 ? 4 : 2)
    for (int chunk = first; chunk < end; ++chunk) {
      uint4 weights[2];
      feed.read(chunk, weights);
#pragma unroll
      for (int column = 0; column < columns; ++column) {
        const uint4 x = inputs.read(column, chunk);
        mma_s8(sums[column], weights[0], x.x, x.y);
        mma_s8(sums[column], weights[1], x.z, x.w);
      }
    }
    int2 own[columns];
    WarpPair::exchange(sums, reinterpret_cast<int2*>(sums_memory), own);
    const PairOutputs<columns> outputs(
        a, tile, constants.data + number * constants.tile_bytes % constants.end,
        constants.scale_bytes);
    feed.refill();
    peak = max(peak, outputs.store(own));
  }
  if constexpr (columns == 1)
    if (a.peaks) PairOutputs<columns>::gather(a, peak);
}

/// Goes through the block's tiles.
template <int columns, bool grouped, class UnitInputs, class Feed>
__device__ inline void multiply_tiles(const Linear& a, const WarpUnits<Feed::unit_chunks>& units,
                                      UnitInputs& inputs, Feed& feed, const Constants& constants,
                                      int* sums_memory) {
  SharedSums<columns> shared(sums_memory);
  int number = 0, place = 0;
  for (int64_t tile = blockIdx.x; tile < a.n_tiles; tile += gridDim.x, ++number) {
    const char* of_tile = constants.data + place;
    place = constants.after(place);
    Outputs<columns, grouped> outputs(a, tile, number);
    int unit = units.first();
    if constexpr (grouped) {
      const int groups = static_cast<int>(num_groups(a.k));
#pragma unroll 1
      for (int first = 0; first < groups; first += block_warps, unit = units.after(unit)) {
        int sums[columns][4] = {};
        if (unit < units.units)
          multiply_unit(units, unit, inputs, feed, sums);
        else
          feed.skip();
        shared.share(sums);
        outputs.add_groups(shared, of_tile, constants.scale_bytes, first);
      }
    } else {
      int sums[columns][4] = {};
#pragma unroll 1
      for (int first = 0; first < units.units; first += block_warps, unit = units.after(unit))
        if (unit < units.units)
          multiply_unit(units, unit, inputs, feed, sums);
        else
          feed.skip();
      shared.share(sums);
    }
    outputs.store(shared, of_tile, constants.scale_bytes);
  }
}

/// The same for slices of more rows, whose sums come tile by tile.
template <int columns, class UnitInputs, class Feed>
__device__ inline void multiply_slices(const Linear& a, const WarpUnits<Feed::unit_chunks>& units,
                                       UnitInputs& inputs, Feed& feed, const Constants& constants,
                                       const SliceOfRows<columns>& slice, int* sums_memory) {
  SharedSums<columns> shared(sums_memory);
  const int first = blockIdx.x / row_slices, step = gridDim.x / row_slices;
  const int tiles = (static_cast<int>(a.n_tiles) - first + step - 1) / step;
  const int own = min(slice.rank(), tiles - 1);
  const Outputs<columns, false> outputs(a, first + own * step, 0);
#pragma unroll 1
  for (int tile = 0; tile < tiles; ++tile) {
    int sums[columns][4] = {}, unit = units.first();
#pragma unroll 1
    for (int begin = 0; begin < units.units; begin += block_warps, unit = units.after(unit))
      if (unit < units.units)
        multiply_unit(units, unit, inputs, feed, sums);
      else
        feed.skip();
    shared.share(sums);
    for (int i = threadIdx.x; i < columns * 32; i += block_threads)
      slice.send(tile, i, shared.of_place(i));
  }
  if (own != slice.rank()) return;
  slice.wait();
  outputs.store(slice, constants.data + own * constants.tile_bytes, constants.scale_bytes);
}

/// Copies rows, up to 8 a column, and their scales. A warp has every eighth row; much is asked for
/// before any of it is stored.
template <int columns, int steps>
__device__ inline void copy_rows(const QuantizedRows& from, int rows, int64_t k, int row_scales,
                                 const QuantizedRows& to) {
  const int pieces = static_cast<int>(activation_stride(k) / 16), warp = threadIdx.x / 32;
  for (int first = threadIdx.x % 32; first < pieces; first += 32 * steps) {
    uint4 read[steps][columns];
    const auto each = [&](auto visit) {
#pragma unroll
      for (int s = 0; s < steps; ++s)
#pragma unroll
        for (int c = 0; c < columns; ++c) {
          const int row = warp + c * block_warps, piece = first + s * 32;
          if (row < rows && piece < pieces) visit(read[s][c], row, piece * 16);
        }
    };
    each([&](uint4& v, int row, int at) {
      v = *reinterpret_cast<const uint4*>(from.values + row * from.stride + at);
    });
    each([&](uint4& v, int row, int at) {
      *reinterpret_cast<uint4*>(to.values + row * to.stride + at) = v;
    });
  }
  for (int i = threadIdx.x; i < rows * row_scales; i += block_threads) to.scale[i] = from.scale[i];
  sync_workers();
}

/// There are no sums yet while a block quantizes its input.
static_assert(decode_sum_bytes(1) >= exchange_bytes(block_threads));

/// Blocks of this kernel and of those that start before it ends, on a multiprocessor.
constexpr int shared_by(int columns, Fused fused) {
  return columns > 1 || fused == Fused::long_row || fused == Fused::slice_by_warps ? 2 : 3;
}

template <int columns, Fused fused>
using BlockSlice = std::conditional_t<is_fused(fused), Slice, SliceOfRows<columns>>;

/// Quantizes the input, or takes it as it is, and multiplies.
template <int columns, bool grouped, Fused fused, class Feed>
__device__ inline void work(Parameters& p, Feed& feed, const Constants& constants,
                            const BlockSlice<columns, fused>* slice, char* sums) {
  Linear& a = p.linear;
  const int all_rows = static_cast<int>(a.rows) * a.planes;
  QuantizedRows x;
  x.values = reinterpret_cast<int8_t*>(constants.data) + constants.end;
  x.stride = staged_stride(a.k);
  x.scale = reinterpret_cast<float*>(x.values + all_rows * x.stride);
  if constexpr (is_fused(fused)) {
    const FirstNorms norms(p.source);
    auto* exchanged = reinterpret_cast<float4*>(sums);
    wait_previous_kernels();
    quantize_row<grouped, held(fused), true>(p.source, 0, 1, norms, exchanged, x);
  } else {
    wait_previous_kernels();
    if (p.staged) {
      copy_rows<columns, grouped ? 2 : 3>(a.x, all_rows, a.k,
                                          grouped ? static_cast<int>(num_groups(a.k)) : 1, x);
    } else if constexpr (!grouped) {  // of one tile or of all: read behind a barrier
      auto* scales = reinterpret_cast<float*>(x.values);
      if (static_cast<int>(threadIdx.x) < all_rows) scales[threadIdx.x] = a.x.scale[threadIdx.x];
      a.x.scale = scales;
    }
  }
  if (is_fused(fused) || p.staged) a.x = x;
  feed.hurry();
  auto* sums_memory = reinterpret_cast<int*>(sums);
  if constexpr (Feed::apart) {
    multiply_apart<columns>(a, feed, constants, sums_memory);
  } else {
    using UnitInputs =
        std::conditional_t<fused == Fused::no && !grouped && columns <= max_columns_ahead,
                           InputsAhead<columns, Feed::unit_chunks>,
                           InputsAtHand<columns, Feed::unit_chunks>>;
    const WarpUnits<Feed::unit_chunks> units(a);
    UnitInputs inputs(a, units);
    if constexpr (is_sliced(fused))
      multiply_slices<columns>(a, units, inputs, feed, constants, *slice, sums_memory);
    else
      multiply_tiles<columns, grouped>(a, units, inputs, feed, constants, sums_memory);
  }
}

/// The same for a slice of rows that have peaks. sm_90.
template <class Feed>
__device__ inline void work_by_warps(Parameters& p, Feed& feed, const Constants& constants,
                                     const SliceOfRows<1>& slice, char* sums) {
  Linear& a = p.linear;
  a.x.scale = reinterpret_cast<float*>(constants.data + constants.end);
  const WarpUnits<Feed::unit_chunks> units(a);
  InputsByWarps<Feed::unit_chunks, max_peaked_units> inputs(a, p.source, units);
  auto* sums_memory = reinterpret_cast<int*>(sums);
  wait_previous_kernels();
  inputs.take(a, p.source, sums_memory);
  multiply_slices(a, units, inputs, feed, constants, slice, sums_memory);
}

/// The same for a row of one scale or a slice of it. sm_90.
template <Fused fused, class Feed>
__device__ inline void work_on_row(Parameters& p, Feed& feed, const Constants& constants,
                                   const Slice* slice, char* sums) {
  Linear& a = p.linear;
  const int row = static_cast<int>(row_bytes(a.k, Feed::unit_chunks));
  a.x.values = reinterpret_cast<int8_t*>(constants.data) + constants.end;
  a.x.stride = staged_stride(row);
  a.x.scale = reinterpret_cast<float*>(a.x.values + a.planes * a.x.stride);
  clear_behind(a.x, a.planes, static_cast<int>(activation_stride(a.k)), row);
  RowUnits<Feed::unit_chunks, fused == Fused::row> units(a.x, a.planes, a.k, feed.tiles(),
                                                         feed.reader());
  RowOutputs outputs(a);
  ConstantsInPlace in_place(a, constants);
  const FirstNorms norms(p.source);
  auto* exchanged = reinterpret_cast<float4*>(sums);
  auto* sums_memory = reinterpret_cast<int*>(sums);
  wait_previous_kernels();
  if constexpr (fused == Fused::slice) {
    quantize_row<false, held(fused), true>(p.source, 0, 1, norms, exchanged, a.x, *slice);
    feed.hurry();
    multiply_slice(a, units, outputs, in_place, *slice, sums_memory);
  } else {
    quantize_row<false, held(fused), true>(p.source, 0, 1, norms, exchanged, a.x);
    feed.hurry();
    multiply_row(a, units, outputs, in_place, sums_memory);
  }
}

/// The same with weights by bulk copies, `tile_bytes` from tile to tile.
template <int columns, int unit_chunks, bool grouped, Fused fused, bool apart>
__device__ inline void work_by_bulk_copies(Parameters& p, int tile_bytes, char* ring,
                                           const Constants& constants,
                                           const BlockSlice<columns, fused>* slice, char* sums) {
  constexpr int sharers = is_sliced(fused) ? row_slices : 1;
  BulkFeed<unit_chunks, sharers, is_fused(fused) && !grouped, apart> feed(
      p.linear, tile_bytes, ring, p.ring_bytes, p.in_flight, p.early, constants);
  if constexpr (is_sliced(fused)) sync_cluster();
  if (threadIdx.x < block_threads) {
    if constexpr (fused == Fused::slice_by_warps)
      work_by_warps(p, feed, constants, *slice, sums);
    else if constexpr (is_fused(fused) && !grouped)
      work_on_row<fused>(p, feed, constants, slice, sums);
    else
      work<columns, grouped, fused>(p, feed, constants, slice, sums);
  } else if (threadIdx.x == block_threads) {
    feed.fill();
  }
}

template <int columns, int unit_chunks, int ahead, bool grouped, Fused fused>
__global__ void __launch_bounds__(decode_threads(ahead), shared_by(columns, fused))
    linear_decode_kernel(Parameters p) {
  allow_next_kernel();
  const int tile_bytes = static_cast<int>(num_chunks(p.linear.k)) * chunk_bytes;
  char* ring = dynamic_shared<char>();
  char* sums = ring + p.ring_bytes;
  char* behind_sums = sums + decode_sum_bytes(columns, ahead);
  // Weights do not depend on the kernels before. plan_decode() has no use for what is left empty.
  if constexpr (is_sliced(fused)) {
    if constexpr (code_architecture >= 90) {
      using Exchange = std::conditional_t<is_fused(fused), SliceExchange, RowsExchange<columns>>;
      if constexpr (is_fused(fused))
        Slice::cut(p.linear, p.source, p.slice_chunks);
      else
        SliceOfRows<columns>::cut(p.linear, p.source, p.slice_chunks);
      const BlockSlice<columns, fused> slice(reinterpret_cast<Exchange*>(behind_sums));
      const Constants constants(p.linear, p.constant_tiles, behind_sums + sizeof(Exchange));
      work_by_bulk_copies<columns, unit_chunks, grouped, fused, false>(p, tile_bytes, ring,
                                                                       constants, &slice, sums);
    }
    return;
  }
  const Constants constants(p.linear, p.constant_tiles, behind_sums);
  if constexpr (ahead == in_registers) {
    if constexpr (code_architecture < 80) {
      RegisterFeed<unit_chunks> feed(p.linear, constants);
      work<columns, grouped, fused>(p, feed, constants, nullptr, sums);
    }
  } else if constexpr (ahead > by_bulk_copies) {
    if constexpr (code_architecture >= 80 && code_architecture < 90) {
      Feed<unit_chunks, ahead> feed(p.linear, reinterpret_cast<uint4*>(ring), p.ring_bytes,
                                    constants);
      work<columns, grouped, fused>(p, feed, constants, nullptr, sums);
    }
  } else if constexpr (code_architecture >= 90) {
    work_by_bulk_copies<columns, unit_chunks, grouped, fused, ahead == tile_a_pair>(
        p, tile_bytes, ring, constants, nullptr, sums);
  }
}

template <int columns, bool grouped, Fused fused = Fused::no>
auto kernel_for(const DecodePlan& plan) {
  if constexpr (!grouped && fused == Fused::no)
    if (plan.ahead == tile_a_pair)
      return linear_decode_kernel<columns, 3, tile_a_pair, false, fused>;
  if (plan.ahead == by_bulk_copies)
    return plan.unit_chunks == 2 ? linear_decode_kernel<columns, 2, by_bulk_copies, grouped, fused>
                                 : linear_decode_kernel<columns, 3, by_bulk_copies, false, fused>;
  if constexpr (grouped || !is_fused(fused))  // others: linear_row_ahead()
    if (plan.ahead == in_registers)
      return plan.unit_chunks == 2 ? linear_decode_kernel<columns, 2, in_registers, grouped, fused>
                                   : linear_decode_kernel<columns, 3, in_registers, false, fused>;
  if (plan.unit_chunks == 2)
    return plan.ahead == 2 ? linear_decode_kernel<columns, 2, 2, grouped, fused>
                           : linear_decode_kernel<columns, 2, 6, grouped, fused>;
  return plan.ahead == 2 ? linear_decode_kernel<columns, 3, 2, false, fused>
                         : linear_decode_kernel<columns, 3, 4, false, fused>;
}
template <int columns, Fused fused>
auto kernel_of_slices(const DecodePlan& plan) {
  return plan.unit_chunks == 2 ? linear_decode_kernel<columns, 2, by_bulk_copies, false, fused>
                               : linear_decode_kernel<columns, 3, by_bulk_copies, false, fused>;
}
template <bool grouped>
auto kernel_for(const DecodePlan& plan, const Linear& linear, const DecodeInput& input) {
  if constexpr (!grouped)
    if (plan.slices > 1)
      return input.peaked        ? kernel_of_slices<1, Fused::slice_by_warps>(plan)
             : plan.columns == 1 ? kernel_of_slices<1, Fused::slice>(plan)
             : plan.columns == 2 ? kernel_of_slices<2, Fused::no_but_slices>(plan)
                                 : kernel_of_slices<4, Fused::no_but_slices>(plan);
  if (input.fused && linear.k > held(Fused::row) * 4 * block_threads)
    return kernel_for<1, grouped, Fused::long_row>(plan);
  if (input.fused) return kernel_for<1, grouped, Fused::row>(plan);
  return plan.columns == 1   ? kernel_for<1, grouped>(plan)
         : plan.columns == 2 ? kernel_for<2, grouped>(plan)
                             : kernel_for<4, grouped>(plan);
}

DecodePlan plan_of(const Linear& linear, const DecodeInput& input, const Queue& queue) {
  return plan_decode(linear.rows, linear.planes, linear.n_tiles, linear.k, linear.grouped, input,
                     queue.architecture, queue.multiprocessors, queue.shared_bytes);
}

DecodeInput input_of(const Linear& linear, const RowSource* fused, const Queue& queue) {
  DecodeInput input{};
  input.peaked = fused && takes_peaks(linear, *fused, queue);
  input.fused = fused && (linear.rows == 1 || !input.peaked);
  // A norm needs the whole row, and a Hadamard block is in one slice, as a group is.
  if ((linear.grouped ? linear.slice_groups != nullptr : queue.clusters) &&
      !(fused && fused->norm)) {
    input.slices_of = fused ? ceil_div(fused->hadamard, chunk_k) : 1;
    if (linear.grouped && input.slices_of < 2) input.slices_of = 2;
  }
  input.attended = queue.clusters && linear.output == Output::assign;
  input.before_met_peaks = queue.clusters && linear.output == Output::silu_mul && !linear.peaks;
  return input;
}

}  // namespace

bool takes_peaks(const Linear& linear, const RowSource& source, const Queue& queue) {
  return source.peaks && !source.norm && !source.rows && source.hadamard == 1 && queue.clusters &&
         (linear.rows == 1
              ? !linear.grouped && plan_of(linear, {true, 1}, queue).ahead == by_teams
              : can_take_peaks(linear.rows, linear.planes, linear.n_tiles, linear.k, linear.grouped,
                               queue.architecture, queue.multiprocessors, queue.shared_bytes));
}

int64_t gives_peaks(const Linear& linear, const Queue& queue) {
  if (linear.rows > max_peak_rows || linear.output != Output::silu_mul) return 0;
  const DecodePlan plan = plan_of(linear, {linear.rows == 1}, queue);
  return plan.ahead == by_teams      ? int64_t{team_peak_words} * plan.blocks
         : plan.ahead == tile_a_pair ? peak_places
                                     : 0;
}

bool gives_best(const Linear& linear, const RowSource& source, const Queue& queue) {
  if (linear.rows > 1 || linear.output != Output::assign) return false;
  const DecodePlan plan = plan_of(linear, input_of(linear, &source, queue), queue);
  return plan.ahead == by_teams && plan.slices == 1;
}

void linear_decode(const Linear& linear, const RowSource* fused, const Queue& queue) {
  if (fused && !linear.grouped && queue.architecture < 80)
    return linear_row_ahead(linear, *fused, queue);
  const DecodeInput input = input_of(linear, fused, queue);
  const DecodePlan plan = plan_of(linear, input, queue);
  const int slice = plan.slices > 1 ? static_cast<int>(slice_chunks(linear.k, input.slices_of)) : 0;
  if (plan.ahead == tile_a_block) return linear_group_tile(linear, *fused, plan, queue);
  if (plan.ahead == by_teams)
    return plan.slices == 1 ? linear_teams(linear, *fused, plan, queue)
           : linear.grouped ? linear_teams_slice_groups(linear, *fused, plan, slice, queue)
                            : linear_teams_slice(linear, *fused, plan, slice, queue);
  const Parameters parameters{
      linear,     fused ? *fused : RowSource{}, plan.ring_bytes, plan.in_flight,
      plan.early, plan.constant_tiles,          plan.staged,     slice};
  launch(linear.grouped ? kernel_for<true>(plan, linear, input)
                        : kernel_for<false>(plan, linear, input),
         {dim3(extent(plan.blocks)), decode_threads(plan.ahead), plan.shared_bytes, plan.slices},
         queue, parameters);
}

}  // namespace octet::kernels::cuda

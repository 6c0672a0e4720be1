// The decode multiplication of one row before sm_80, which each block normalizes and quantizes. No
// part of a kernel runs beside the one before, so a block first asks for the row, and then for so
// many weights that nothing else waits for them; for more when its largest magnitude is known, and
// for the rest of its first unit when the row is quantized.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_row.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {
namespace {

/// What can be worked out before is: a block waits for every instruction before its first reads.
/// They need the first line of parameters only.
struct Parameters {
  const uint4* weight;  // linear's
  int chunks, stages;   // of a tile
  RowSource source;
  Linear linear;
  int row_bytes;
  int tiles, blocks_of_more;  // of a block, of which so many have one more
  bool at_once;               // RowPlan
};

/// A warp's units of the block's tiles, from memory to registers, of the first few chunks at first.
/// What is behind a tile's end stays as it is.
template <int unit_chunks, int warps, int early>
class MemoryReader {
 public:
  static constexpr bool looks_first = false;
  __device__ explicit MemoryReader(const Parameters& p)
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

/// held: of a thread (SpreadRow); residents: blocks of a multiprocessor.
template <int warps, int unit_chunks, int held, int residents>
__global__ void __launch_bounds__(32 * warps, residents)
    linear_row_kernel(const __grid_constant__ Parameters p) {
  if constexpr (code_architecture < 80) {
    constexpr int threads = 32 * warps, part = chunks_on_their_way / (warps * residents),
                  early = unit_chunks < part ? unit_chunks : part,
                  middle = unit_chunks < 2 * part ? unit_chunks : 2 * part;
    const bool at_once = residents > 1 && p.at_once;
    using Reader = MemoryReader<unit_chunks, warps, early>;
    const HeldPlaces<held, threads> places(p.source, 0);
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
    RowOutputs outputs(a);
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
    __shared__ float shared[3][warps];
    const SpreadRow<held, true, threads> row(p.source, 0, places, norms, shared[0],
                                             reinterpret_cast<float4*>(sums));
    quantize_spread_row<false, PlaneRow>(p.source, row, 0, 1, a.x, shared, ask_meanwhile);
    if constexpr (middle < unit_chunks)
      if (!at_once) units.template ask_more<middle, unit_chunks>();
    multiply_row<true>(a, units, outputs, constants, reinterpret_cast<int*>(sums));
  }
}

auto kernel_for(const RowPlan& plan, int64_t k) {
  if (plan.warps == long_row_warps) return linear_row_kernel<long_row_warps, long_row_chunks, 6, 1>;
  if (k > short_row_k)
    return plan.unit_chunks == 2 ? linear_row_kernel<block_warps, 2, long_held, 2>
                                 : linear_row_kernel<block_warps, 3, long_held, 2>;
  return plan.unit_chunks == 2 ? linear_row_kernel<block_warps, 2, short_held, 3>
                               : linear_row_kernel<block_warps, 3, short_held, 3>;
}

}  // namespace

void linear_row_ahead(const Linear& linear, const RowSource& source, const Queue& queue) {
  const RowPlan plan = plan_row(linear.planes, linear.n_tiles, linear.k, source.norm != nullptr,
                                queue.multiprocessors);
  const auto n_tiles = static_cast<int>(linear.n_tiles);
  const Parameters parameters{static_cast<const uint4*>(linear.weight),
                              static_cast<int>(num_chunks(linear.k)),
                              plan.stages,
                              source,
                              linear,
                              plan.row_bytes,
                              n_tiles / plan.blocks,
                              n_tiles % plan.blocks,
                              plan.at_once};
  launch(kernel_for(plan, linear.k),
         {dim3(extent(plan.blocks)), 32 * plan.warps, plan.shared_bytes}, queue, parameters);
}

}  // namespace octet::kernels::cuda

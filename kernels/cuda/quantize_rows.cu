// Norm and quantization as a kernel of its own: a block of threads a row.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {
namespace {

template <bool grouped, int held, bool all_held, class Place, int threads>
__device__ inline void quantize_block_row(const RowSource& source, const QuantizedRows& out) {
  auto* exchanged = dynamic_shared<float4>();
  allow_next_kernel();
  const FirstNorms norms(source);
  wait_previous_kernels();
  quantize_row<grouped, held, all_held, Place, WholeRow, threads>(source, blockIdx.x, gridDim.x,
                                                                  norms, exchanged, out);
}

template <bool grouped, int held, bool all_held, class Place>
__global__ void __launch_bounds__(block_threads)
    quantize_rows_kernel(RowSource source, QuantizedRows out) {
  quantize_block_row<grouped, held, all_held, Place, block_threads>(source, out);
}

/// Long rows of few sequences: more threads, to each of which there is less to do, with so few
/// registers that a block finds room beside one of a multiplication.
constexpr int wide_threads = 512, wide_held = 6;
template <bool grouped>
__global__ void __maxnreg__(56) quantize_wide_rows_kernel(RowSource source, QuantizedRows out) {
  quantize_block_row<grouped, wide_held, true, PlaneRow, wide_threads>(source, out);
}

template <class Place>
auto kernel_for(bool grouped, bool is_short) {
  return grouped && is_short ? quantize_rows_kernel<true, short_held, true, Place>
         : grouped           ? quantize_rows_kernel<true, long_held, false, Place>
         : is_short          ? quantize_rows_kernel<false, short_held, true, Place>
                             : quantize_rows_kernel<false, long_held, false, Place>;
}

bool is_wide(const RowSource& source, const QuantizedRows& out, int64_t rows) {
  return !source.norm && !out.tiled && rows <= max_decode_rows && source.k > short_row_k &&
         source.k <= wide_held * 4 * wide_threads;
}

}  // namespace

void quantize_rows(const RowSource& source, const QuantizedRows& out, int64_t rows, bool grouped,
                   const Queue& queue) {
  const bool wide = is_wide(source, out, rows);
  const int threads = wide ? wide_threads : block_threads;
  const bool is_short = source.k <= short_held * 4 * block_threads;
  const auto kernel = wide && grouped ? quantize_wide_rows_kernel<true>
                      : wide          ? quantize_wide_rows_kernel<false>
                      : out.tiled     ? kernel_for<TiledRow>(grouped, is_short)
                                      : kernel_for<PlaneRow>(grouped, is_short);
  launch(kernel,
         {dim3(extent(rows)), threads,
          source.hadamard > exchanged_hadamard ? exchange_bytes(threads) : 0},
         queue, source, out);
}

}  // namespace octet::kernels::cuda

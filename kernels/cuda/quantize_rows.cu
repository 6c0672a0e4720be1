// Norm and quantization as a kernel of its own: a block of threads a row.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {
namespace {

template <bool grouped, int held, bool all_held, class Place>
__global__ void __launch_bounds__(block_threads)
    quantize_rows_kernel(RowSource source, QuantizedRows out) {
  __shared__ float4 exchanged[exchange_bytes / sizeof(float4)];
  allow_next_kernel();
  const FirstNorms norms(source);
  wait_previous_kernels();
  quantize_row<grouped, held, all_held, Place>(source, blockIdx.x, gridDim.x, norms, exchanged,
                                               out);
}

template <class Place>
auto kernel_for(bool grouped, bool is_short) {
  return grouped && is_short ? quantize_rows_kernel<true, short_held, true, Place>
         : grouped           ? quantize_rows_kernel<true, long_held, false, Place>
         : is_short          ? quantize_rows_kernel<false, short_held, true, Place>
                             : quantize_rows_kernel<false, long_held, false, Place>;
}

}  // namespace

void quantize_rows(const RowSource& source, const QuantizedRows& out, int64_t rows, bool grouped,
                   const Queue& queue) {
  const bool is_short = source.k <= short_held * 4 * block_threads;
  const auto kernel =
      out.tiled ? kernel_for<TiledRow>(grouped, is_short) : kernel_for<PlaneRow>(grouped, is_short);
  launch(kernel, {dim3(extent(rows)), block_threads}, queue, source, out);
}

}  // namespace octet::kernels::cuda

// Norm and quantization as a kernel of its own: a block of threads a row.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {
namespace {

/// A row of the longest input of the 1.5B, 8960, stays in registers.
constexpr int held = 9;

template <bool grouped>
__global__ void __launch_bounds__(block_threads)
    quantize_rows_kernel(RowSource source, QuantizedRows out) {
  allow_next_kernel();
  const FirstNorms norms(source);
  wait_previous_kernels();
  quantize_row<grouped, held, false>(source, blockIdx.x, gridDim.x, norms, out);
}

}  // namespace

void quantize_rows(const RowSource& source, const QuantizedRows& out, int64_t rows, bool grouped,
                   const Queue& queue) {
  launch(grouped ? quantize_rows_kernel<true> : quantize_rows_kernel<false>,
         {dim3(extent(rows)), block_threads}, queue, source, out);
}

}  // namespace octet::kernels::cuda

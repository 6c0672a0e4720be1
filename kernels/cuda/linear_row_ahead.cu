// The decode multiplication of one row before sm_80 as a kernel.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_row_ahead.cuh"

namespace octet::kernels::cuda {
namespace {

template <int warps, int unit_chunks, int held, int residents>
__global__ void __launch_bounds__(32 * warps, residents)
    linear_row_kernel(const __grid_constant__ RowParameters p) {
  if constexpr (code_architecture < 80) multiply_row_ahead<warps, unit_chunks, held, residents>(p);
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
  const RowParameters parameters = row_parameters(linear, source, plan);
  launch(kernel_for(plan, linear.k),
         {dim3(extent(plan.blocks)), 32 * plan.warps, plan.shared_bytes}, queue, parameters);
}

}  // namespace octet::kernels::cuda

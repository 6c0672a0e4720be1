// Hadamard blocks of rows in shared memory, a block of threads each.
#include <cmath>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"

namespace octet::kernels::cuda {
namespace {

__global__ void __launch_bounds__(block_threads) hadamard_kernel(Hadamard a, float scale) {
  allow_next_kernel();
  wait_previous_kernels();
  const int block = static_cast<int>(a.block);
  float* x = a.values + blockIdx.x * a.stride + blockIdx.y * a.block;
  float* shared = dynamic_shared<float>();
  for (int i = threadIdx.x; i < block; i += block_threads) shared[i] = x[i];
  __syncthreads();
  for (int h = 1; h < block; h *= 2) {
    for (int pair = threadIdx.x; pair < block / 2; pair += block_threads) {
      const int i = pair / h * 2 * h + pair % h;
      const float low = shared[i], high = shared[i + h];
      shared[i] = low + high;
      shared[i + h] = low - high;
    }
    __syncthreads();
  }
  for (int i = threadIdx.x; i < block; i += block_threads) x[i] = shared[i] * scale;
}

}  // namespace

void hadamard(const Hadamard& hadamard, const Queue& queue) {
  const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(hadamard.block)));
  // Rows along x, of which a grid has more than 65,535.
  launch(hadamard_kernel,
         {dim3(extent(hadamard.rows), extent(hadamard.k / hadamard.block)), block_threads,
          hadamard.block * int64_t{sizeof(float)}},
         queue, hadamard, scale);
}

}  // namespace octet::kernels::cuda

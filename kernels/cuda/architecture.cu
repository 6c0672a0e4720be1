// Which of the binary's architectures the driver chose for the current device.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/ptx.cuh"

namespace octet::kernels::cuda {
namespace {

__global__ void probe_kernel() {}
__device__ bool warpgroups = has_warpgroups;

}  // namespace

int running_architecture() {
  cudaFuncAttributes attributes{};
  if (cudaFuncGetAttributes(&attributes, probe_kernel) != cudaSuccess) {
    cudaGetLastError();  // not an error of the next launch
    return 0;
  }
  return attributes.ptxVersion;
}

bool running_warpgroups() {
  bool result = false;
  if (cudaMemcpyFromSymbol(&result, warpgroups, sizeof result) != cudaSuccess) {
    cudaGetLastError();
    return false;
  }
  return result;
}

}  // namespace octet::kernels::cuda

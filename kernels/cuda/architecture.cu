// Which of the binary's architectures the driver chose for the current device.
#include "kernels/cuda/kernels.h"

namespace octet::kernels::cuda {
namespace {

__global__ void probe_kernel() {}

}  // namespace

int running_architecture() {
  cudaFuncAttributes attributes{};
  if (cudaFuncGetAttributes(&attributes, probe_kernel) != cudaSuccess) {
    cudaGetLastError();  // not an error of the next launch
    return 0;
  }
  return attributes.ptxVersion;
}

}  // namespace octet::kernels::cuda

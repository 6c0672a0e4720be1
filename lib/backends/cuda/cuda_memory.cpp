#include "lib/backends/cuda/cuda_memory.h"

#include "lib/core/error.h"

namespace octet::cuda {

std::string explain(cudaError_t status) {
  switch (status) {
    case cudaErrorInsufficientDriver:
      return str("there is no NVIDIA driver, or one too old for CUDA ", CUDART_VERSION / 1000, ".",
                 CUDART_VERSION % 1000 / 10, ", which this build needs");
    case cudaErrorNoDevice:
      return "the NVIDIA driver finds no device (CUDA_VISIBLE_DEVICES may hide it)";
    case cudaErrorNoKernelImageForDevice:
      return "this build holds no code for the device's architecture";
    default:
      return str(cudaGetErrorString(status), " (", cudaGetErrorName(status), ")");
  }
}

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // what is reported here is not the next call's error
  fail(ErrorCode::Device, call, ": ", explain(status));
}

OnDevice::OnDevice(int index) {
  check(cudaGetDevice(&before_), "cudaGetDevice");
  check(cudaSetDevice(index), "cudaSetDevice");
}

DeviceMemory::DeviceMemory(int64_t bytes, const char* what) {
  const cudaError_t status = cudaMalloc(&data_, static_cast<size_t>(bytes));
  if (status == cudaSuccess) return;
  cudaGetLastError();
  size_t free = 0, total = 0;
  const bool known = cudaMemGetInfo(&free, &total) == cudaSuccess;
  require(status == cudaErrorMemoryAllocation && known, ErrorCode::Device,
          "cudaMalloc: ", explain(status));
  fail(ErrorCode::OutOfMemory, what, " need ", bytes, " bytes on the CUDA device; ", free, " of ",
       total, " are free");
}

PinnedMemory::PinnedMemory(int64_t bytes) {
  const cudaError_t status = cudaMallocHost(&data_, static_cast<size_t>(bytes));
  if (status == cudaSuccess) return;
  cudaGetLastError();
  fail(ErrorCode::OutOfMemory, "cannot lock ", bytes,
       " bytes of the host's memory: ", explain(status));
}

}  // namespace octet::cuda

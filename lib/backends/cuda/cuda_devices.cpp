#include "lib/backends/cuda/cuda_devices.h"

#include "kernels/cuda/kernels.h"
#include "lib/backends/cuda/cuda_backend.h"
#include "lib/core/error.h"

namespace octet {
namespace {

using namespace cuda;

/// Like running_architecture(), for any device; 0 also where the device cannot be used at all.
int architecture_on(int index) {
  if (cudaSetDevice(index) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return kernels::cuda::running_architecture();
}

}  // namespace

std::string why_no_cuda(int index) {
  int count = 0;  // not written on an error
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    cudaGetLastError();
    return explain(status);
  }
  if (index >= count) return str("there are ", count, " CUDA devices, counted from 0");
  const OnDevice device(0);
  if (architecture_on(index) == 0)
    return str(explain(cudaErrorNoKernelImageForDevice), "; it holds ", OCTET_CUDA_ARCHITECTURES);
  return {};
}

std::vector<DeviceInfo> cuda_devices() {
  std::vector<DeviceInfo> found;
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) count = 0;
  cudaGetLastError();
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, index) != cudaSuccess) continue;
    DeviceInfo info;
    info.name = str("cuda:", index);
    info.description =
        str(properties.name, ", compute capability ", properties.major, ".", properties.minor);
    info.threads = properties.multiProcessorCount;
    info.memory_bytes = properties.totalGlobalMem;
    info.instruction_sets = {OCTET_CUDA_ARCHITECTURES};
    const OnDevice device(0);
    const int architecture = architecture_on(index);
    info.selected = architecture > 0 ? str("sm_", architecture) : "none";
    found.push_back(std::move(info));
  }
  return found;
}

std::unique_ptr<Backend> make_cuda_backend(int index, const ModelConfig& config, int64_t max_rows,
                                           bool exact, Weights& weights, Progress progress) {
  const std::string reason = why_no_cuda(index);
  require(reason.empty(), ErrorCode::Device, "device cuda:", index, ": ", reason);
  auto backend = std::make_unique<CudaBackend>(index, config, max_rows, exact, weights, progress);
  weights = backend->weights();
  return backend;
}

}  // namespace octet

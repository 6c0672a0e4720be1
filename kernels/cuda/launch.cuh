#pragma once
#include "kernels/cuda/kernels.h"

namespace octet::kernels::cuda {

struct Shape {
  dim3 grid;
  int threads;
  int64_t shared_bytes = 0;
  int cluster = 1;  ///< neighbouring blocks that run at the same time, on multiprocessors near by
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Shape& shape, const Queue& queue,
            const Arguments&... arguments) {
  // Kernels that quantize have some of their own.
  if (shape.shared_bytes + quantize_shared_bytes > max_shared_bytes)
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         static_cast<int>(shape.shared_bytes));
  // A multiprocessor divides its memory between cache and shared memory once for all that it runs:
  // kernels that want another division would wait until it is idle.
  cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                       shared_percent(queue.architecture, queue.shared_bytes));
  cudaLaunchAttribute attributes[2] = {};
  unsigned count = 0;
  if (queue.dependent_launch) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (shape.cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count++].val.clusterDim = {static_cast<unsigned>(shape.cluster), 1, 1};
  }
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = dim3(static_cast<unsigned>(shape.threads));
  config.dynamicSmemBytes = static_cast<size_t>(shape.shared_bytes);
  config.stream = queue.stream;
  config.attrs = attributes;
  config.numAttrs = count;
  cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
}

constexpr unsigned extent(int64_t value) {
  return static_cast<unsigned>(value);
}

}  // namespace octet::kernels::cuda

// A build without the CUDA backend (OCTET_CUDA).
#include "lib/backends/cuda/cuda_devices.h"
#include "lib/core/error.h"

namespace octet {

std::string why_no_cuda(int) {
  return "this build of octet has no CUDA backend; known: cpu";
}

std::vector<DeviceInfo> cuda_devices() {
  return {};
}

std::unique_ptr<Backend> make_cuda_backend(int index, const ModelConfig&, int64_t, bool, Weights&,
                                           Progress) {
  fail(ErrorCode::Device, "device cuda:", index, ": ", why_no_cuda(index));
}

}  // namespace octet

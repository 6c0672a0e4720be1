#include "lib/convert/float_tensors.h"

namespace octet {

std::vector<CheckpointTensor> float_tensors(const ModelConfig& config) {
  std::vector<CheckpointTensor> tensors;
  for (const ModelTensor& tensor : model_tensors(config)) {
    uint64_t count = 1;
    for (int64_t extent : tensor.shape) count *= static_cast<uint64_t>(extent);
    tensors.push_back({tensor.name, "F32", tensor.shape, 4 * count});
  }
  return tensors;
}

}  // namespace octet

#pragma once
#include <vector>

#include "lib/io/checkpoint.h"

namespace octet {

/// What a checkpoint lists that computes its tensors: those of the config, as F32.
std::vector<CheckpointTensor> float_tensors(const ModelConfig& config);

}  // namespace octet

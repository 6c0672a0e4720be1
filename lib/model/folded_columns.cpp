#include "lib/model/folded_columns.h"

#include "lib/core/error.h"

namespace octet {

std::string columns_name(int64_t layer, const char* linears) {
  return str("octet.columns.", layer, ".", linears);
}

std::vector<ModelTensor> folded_columns(const ModelConfig& config, const RotationSizes& rotation) {
  std::vector<ModelTensor> tensors;
  if (rotation.hidden == 1) return tensors;
  for (int64_t layer = 0; layer < config.num_layers; ++layer)
    for (const char* linears : {"qkv", "gate_up"})
      tensors.push_back({columns_name(layer, linears), {config.hidden_size}});
  tensors.push_back({head_columns_name, {config.hidden_size}});
  return tensors;
}

}  // namespace octet

#include "lib/model/folded_columns.h"

#include "lib/core/error.h"
#include "lib/model/memory_store.h"

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

std::vector<StoredTensor> input_scale_tensors(const ModelConfig& config) {
  const auto extent = [](int64_t value) { return static_cast<uint64_t>(value); };
  std::vector<StoredTensor> tensors;
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const auto add = [&](const char* input, int64_t count) {
      tensors.push_back({str("octet.input_scale.", layer, ".", input), "F32", {extent(count)}});
    };
    add("qkv", config.hidden_size);
    add("o", config.num_kv_heads * config.head_dim);
    add("gate_up", config.hidden_size);
    add("down", config.intermediate_size);
  }
  tensors.push_back({"octet.input_scale.head", "F32", {extent(config.hidden_size)}});
  return tensors;
}

std::unique_ptr<TensorStore> copy_for_adapters(const ModelConfig& config,
                                               const RotationSizes& rotation,
                                               const TensorStore& from) {
  std::vector<StoredTensor> kept;
  const auto keep = [&](const StoredTensor& tensor) {
    if (from.has(tensor.name)) kept.push_back(tensor);
  };
  if (rotation.any())
    for (const StoredTensor& tensor : input_scale_tensors(config)) keep(tensor);
  for (const ModelTensor& tensor : folded_columns(config, rotation))
    keep({tensor.name, "F32", {static_cast<uint64_t>(tensor.shape[0])}});
  auto copy = std::make_unique<MemoryStore>(kept);
  for (size_t i = 0; i < kept.size(); ++i)
    copy->write(i, 0, {from.data(kept[i]), static_cast<size_t>(kept[i].bytes())});
  return copy;
}

}  // namespace octet

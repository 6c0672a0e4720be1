#include "lib/io/peft_adapter.h"

#include <cmath>
#include <set>

#include "lib/core/error.h"
#include "lib/io/file_kind.h"
#include "lib/io/peft_config.h"
#include "lib/io/weight_types.h"

namespace octet {
namespace {

constexpr std::string_view prefix = "base_model.model.";
constexpr std::string_view down_suffix = ".lora_A.weight", up_suffix = ".lora_B.weight";

std::string weights_file(const std::string& directory) {
  const std::string path = directory + "/adapter_model.safetensors";
  require(file_kind(directory) == FileKind::directory && file_exists(path), ErrorCode::Io,
          directory,
          ": not a LoRA adapter; adapter_config.json and adapter_model.safetensors "
          "expected in it");
  return path;
}

/// Errors: InvalidFile.
void check_shape(const SafetensorsEntry& entry, int64_t rows, int64_t cols,
                 const std::string& path) {
  const bool right = entry.shape.size() == 2 && entry.shape[0] == static_cast<uint64_t>(rows) &&
                     entry.shape[1] == static_cast<uint64_t>(cols);
  std::string shape;
  for (uint64_t extent : entry.shape) shape += (shape.empty() ? "" : ", ") + std::to_string(extent);
  require(right, ErrorCode::InvalidFile, path, ": tensor ", entry.name, ": shape [", shape,
          "], expected [", rows, ", ", cols, "]");
  require(find_weight_type(entry.dtype) != nullptr, ErrorCode::Unsupported, path, ": tensor ",
          entry.name, ": type ", entry.dtype, "; known are F32, F16, BF16");
}

}  // namespace

PeftAdapter::PeftAdapter(const std::string& directory, const ModelConfig& config)
    : path_(directory),
      file_(weights_file(directory)),
      tensors_(parse_safetensors(file_.bytes(), file_.path())) {
  find_pairs(config);
  const PeftConfig adapter(directory);
  for (const ModelTensor& tensor : model_tensors(config)) {
    if (!is_linear(tensor.name)) continue;
    const std::string linear = tensor.name.substr(0, tensor.name.rfind('.'));
    const auto found = pairs_.find(tensor.name);
    require((found != pairs_.end()) == adapter.targets(linear), ErrorCode::InvalidFile,
            file_.path(), ": target_modules and the tensors disagree on ", linear);
    if (found == pairs_.end()) continue;
    Pair& pair = found->second;
    require(pair.down && pair.up, ErrorCode::InvalidFile, file_.path(), ": ", linear,
            ": one of lora_A and lora_B is missing");
    const int64_t rank = adapter.rank(linear);
    check_shape(*pair.down, rank, tensor.shape[1], file_.path());
    check_shape(*pair.up, tensor.shape[0], rank, file_.path());
    pair.scale = adapter.scale(linear);
  }
}

/// Every tensor of the file is half of a pair for a linear of the model.
void PeftAdapter::find_pairs(const ModelConfig& config) {
  std::set<std::string, std::less<>> linears;
  for (const ModelTensor& tensor : model_tensors(config))
    if (is_linear(tensor.name)) linears.insert(tensor.name);
  for (const SafetensorsEntry& entry : tensors_.tensors) {
    // PEFT saves the head's own weight along when an adapter changes the head.
    if (entry.name == str(prefix, "lm_head.base_layer.weight")) continue;
    const bool down = entry.name.ends_with(down_suffix), up = entry.name.ends_with(up_suffix);
    require(entry.name.starts_with(prefix) && (down || up), ErrorCode::Unsupported, file_.path(),
            ": tensor ", entry.name, "; known are ", prefix, "*.lora_A.weight and lora_B.weight");
    const size_t end = entry.name.size() - (down ? down_suffix : up_suffix).size();
    const std::string weight = entry.name.substr(prefix.size(), end - prefix.size()) + ".weight";
    require(linears.contains(weight), ErrorCode::InvalidFile, file_.path(), ": tensor ", entry.name,
            ": the model has no linear of this name");
    (down ? pairs_[weight].down : pairs_[weight].up) = &entry;
  }
  require(!pairs_.empty(), ErrorCode::InvalidFile, file_.path(), ": no tensors in it");
}

int64_t PeftAdapter::rank(std::string_view weight) const {
  return static_cast<int64_t>(pairs_.find(weight)->second.down->shape[0]);
}

LowRankDelta PeftAdapter::delta(std::string_view weight) const {
  const Pair& pair = pairs_.find(weight)->second;
  return {rank(weight), pair.scale, read(*pair.down), read(*pair.up)};
}

std::vector<float> PeftAdapter::read(const SafetensorsEntry& entry) const {
  const auto count = static_cast<size_t>(entry.shape[0] * entry.shape[1]);
  std::vector<float> values(count);
  find_weight_type(entry.dtype)
      ->to_f32(entry.data.data(), static_cast<int64_t>(count), values.data());
  for (float value : values)
    require(std::isfinite(value), ErrorCode::InvalidFile, file_.path(), ": tensor ", entry.name,
            ": a value that is not finite");
  return values;
}

}  // namespace octet

#pragma once
// LoRA adapters as Hugging Face's PEFT stores them: adapter_config.json and
// adapter_model.safetensors. Hu et al. 2021, arXiv:2106.09685; rank-stabilized scaling:
// Kalajdzievski 2023, arXiv:2312.03732.
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lib/core/mapped_file.h"
#include "lib/io/checkpoint.h"
#include "lib/io/safetensors.h"

namespace octet {

/// W + scale * up down, for the weight W [n, k] of one linear.
struct LowRankDelta {
  int64_t rank = 0;
  double scale = 0;
  std::vector<float> down;  ///< [rank, k], PEFT's lora_A
  std::vector<float> up;    ///< [n, rank], PEFT's lora_B
};

class PeftAdapter {
 public:
  /// The adapter in this directory, checked against the model's shape.
  /// Errors: Io; InvalidFile if the files are damaged, disagree with each other or with the model;
  /// Unsupported for what is not plain LoRA of linears, naming it.
  PeftAdapter(const std::string& directory, const ModelConfig& config);

  const std::string& path() const { return path_; }
  /// Whether the adapter changes this weight ("model.layers.0.mlp.up_proj.weight").
  bool changes(std::string_view weight) const { return pairs_.contains(weight); }
  int64_t rank(std::string_view weight) const;
  /// Its change. Errors: InvalidFile if a value is not finite.
  LowRankDelta delta(std::string_view weight) const;

 private:
  struct Pair {
    const SafetensorsEntry* down = nullptr;
    const SafetensorsEntry* up = nullptr;
    double scale = 0;
  };
  void find_pairs(const ModelConfig& config);
  std::vector<float> read(const SafetensorsEntry& entry) const;

  std::string path_;
  MappedFile file_;
  Safetensors tensors_;
  std::map<std::string, Pair, std::less<>> pairs_;
};

}  // namespace octet

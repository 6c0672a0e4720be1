#pragma once
// Checkpoints quantized by llm-compressor and the like, as compressed-tensors stores W8A8
// ("int-quantized"): weights int8 with a scale an output channel, activations int8 with a scale a
// token, found at run time. That is octet's w8a8.
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lib/io/name_pattern.h"

namespace octet {

/// Modules by what a compressed-tensors config names them: by name, by class, or by "re:" and a
/// pattern that matches from a name's start on.
class ModuleNames {
 public:
  /// Errors: InvalidFile.
  void add(const std::string& entry, const std::string& where);
  /// Whether a module of class Linear is meant.
  bool contain_linear(std::string_view name) const;

 private:
  std::set<std::string, std::less<>> names_;
  std::vector<NamePattern> patterns_;
};

class CompressedTensors {
 public:
  /// What config.json in this directory says; empty if its checkpoint is not quantized.
  /// Errors: Io; InvalidFile; Unsupported naming what was found where it is something else than
  /// symmetric int8 with a scale a channel, times dynamic int8 with a scale a token.
  static std::optional<CompressedTensors> read(const std::string& directory);

  /// Whether the linear of this name ("model.layers.0.mlp.up_proj") is quantized.
  bool quantizes(std::string_view linear) const {
    return targets_.contain_linear(linear) && !ignored_.contain_linear(linear);
  }

 private:
  ModuleNames targets_, ignored_;
};

}  // namespace octet

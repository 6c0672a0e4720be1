#pragma once
#include <cstdint>
#include <string>

namespace octet::tools {

/// "model.layers.3.mlp.up_proj.weight": layer 3, "up_proj"; the embedding and the head: layer -1.
struct LinearName {
  int64_t layer = -1;
  std::string kind;
};

inline LinearName parse_linear_name(const std::string& weight) {
  const std::string prefix = "model.layers.", suffix = ".weight";
  const std::string stem = weight.substr(0, weight.size() - suffix.size());
  const std::string kind = stem.substr(stem.rfind('.') + 1);
  if (!weight.starts_with(prefix)) return {-1, kind};
  return {std::stoll(weight.substr(prefix.size())), kind};
}

}  // namespace octet::tools

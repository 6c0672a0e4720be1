#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "lib/io/name_pattern.h"

namespace octet {

/// adapter_config.json: which linears a LoRA adapter changes, and how strongly.
class PeftConfig {
 public:
  /// Errors: Io; InvalidFile; Unsupported naming what is not plain LoRA of linears.
  explicit PeftConfig(const std::string& directory);

  /// Whether target_modules names the linear "model.layers.0.mlp.up_proj".
  bool targets(std::string_view linear) const;
  int64_t rank(std::string_view linear) const;
  /// By what the product of the two matrices is multiplied.
  double scale(std::string_view linear) const;

 private:
  struct Override {
    NamePattern pattern;
    double value;
  };
  double value_for(std::string_view linear, const std::vector<Override>& overrides,
                   double otherwise) const;

  std::string path_;
  bool all_linears_ = false;
  std::vector<std::string> names_;
  std::vector<NamePattern> patterns_;  // at most one
  double rank_ = 0, alpha_ = 0;
  bool rank_stabilized_ = false;
  std::vector<Override> ranks_, alphas_;
};

}  // namespace octet

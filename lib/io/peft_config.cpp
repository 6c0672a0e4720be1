// Keys and their meaning as in PEFT 0.21: tuners/lora/config.py, tuners/tuners_utils.py
// (check_target_module_exists), utils/other.py (get_pattern_key).
#include "lib/io/peft_config.h"

#include <algorithm>
#include <cmath>

#include "lib/core/error.h"
#include "lib/io/json.h"
#include "lib/io/json_object.h"

namespace octet {
namespace {

constexpr size_t max_config_bytes = size_t{4} << 20;
constexpr size_t max_overrides = 1024;
constexpr double max_rank = 65536;

/// Options that add something else to the model than two matrices a linear.
void reject_more_than_lora(const JsonObject& file) {
  const std::string type = file.required_text("peft_type");
  require(type == "LORA", ErrorCode::Unsupported, file.where(), ": peft_type \"", type,
          "\"; known is LORA");
  const std::string bias = file.text("bias").value_or("none");
  require(bias == "none", ErrorCode::Unsupported, file.where(), ": bias \"", bias,
          "\"; known is none");
  for (const char* key : {"use_dora", "lora_bias", "fan_in_fan_out", "use_qalora"})
    require(!file.boolean(key).value_or(false), ErrorCode::Unsupported, file.where(), ": ", key,
            " is true; known is false");
  for (const char* key :
       {"modules_to_save", "layers_to_transform", "layers_pattern", "layer_replication",
        "exclude_modules", "target_parameters", "trainable_token_indices", "arrow_config",
        "alora_invocation_tokens", "megatron_config", "use_bdlora", "kasa_config", "velora_config",
        "monteclora_config"}) {
    const nlohmann::json* found = file.find(key);
    require(!found || found->empty(), ErrorCode::Unsupported, file.where(), ": ", key, " is ",
            found ? found->dump().substr(0, 100) : "", "; known is null");
  }
}

double positive(double value, double largest, const char* key, const JsonObject& file) {
  require(value > 0 && value <= largest, ErrorCode::InvalidFile, file.where(), ": ", key, " is ",
          value, ", above 0 and at most ", largest, " expected");
  return value;
}

}  // namespace

PeftConfig::PeftConfig(const std::string& directory) : path_(directory + "/adapter_config.json") {
  const nlohmann::json document = read_json(path_, max_config_bytes);
  const JsonObject file(document, path_);
  reject_more_than_lora(file);
  rank_ = positive(static_cast<double>(file.required_integer("r")), max_rank, "r", file);
  alpha_ = positive(file.required_number("lora_alpha"), 1e9, "lora_alpha", file);
  rank_stabilized_ = file.boolean("use_rslora").value_or(false);

  const auto read_overrides = [&](const char* key, double largest) {
    std::vector<Override> overrides;
    const auto object = file.object(key);
    if (!object) return overrides;
    require(object->value().size() <= max_overrides, ErrorCode::InvalidFile, path_, ": ", key,
            ": more than ", max_overrides, " patterns");
    for (const auto& [pattern, value] : object->value().items())
      overrides.push_back({NamePattern("(.*\\.)?(" + pattern + ")", str(path_, ": ", key)),
                           positive(object->required_number(pattern), largest, key, file)});
    return overrides;
  };
  ranks_ = read_overrides("rank_pattern", max_rank);
  alphas_ = read_overrides("alpha_pattern", 1e9);

  const nlohmann::json* modules = file.find("target_modules");
  require(modules && (modules->is_string() || modules->is_array()), ErrorCode::InvalidFile, path_,
          ": target_modules: a pattern or a list of names expected");
  if (modules->is_string()) {
    const auto text = modules->get<std::string>();
    all_linears_ = text == "all-linear";
    if (!all_linears_) patterns_.emplace_back(text, path_ + ": target_modules");
    return;
  }
  for (const nlohmann::json& name : *modules) {
    require(name.is_string(), ErrorCode::InvalidFile, path_, ": target_modules holds ",
            name.dump().substr(0, 100), ", a name expected");
    names_.push_back(name.get<std::string>());
  }
}

bool PeftConfig::targets(std::string_view linear) const {
  if (all_linears_) return linear != "lm_head";
  if (!patterns_.empty()) return patterns_[0].matches_whole(linear);
  return std::any_of(names_.begin(), names_.end(), [&](const std::string& name) {
    return linear == name || linear.ends_with("." + name);
  });
}

double PeftConfig::value_for(std::string_view linear, const std::vector<Override>& overrides,
                             double otherwise) const {
  const Override* found = nullptr;
  for (const Override& override : overrides) {
    if (!override.pattern.matches_whole(linear)) continue;
    // PEFT takes the first of them, in an order that JSON objects do not have.
    require(!found || found->value == override.value, ErrorCode::Unsupported, path_,
            ": two patterns say ", found ? found->value : 0, " and ", override.value, " of ",
            linear);
    found = &override;
  }
  return found ? found->value : otherwise;
}

int64_t PeftConfig::rank(std::string_view linear) const {
  return static_cast<int64_t>(value_for(linear, ranks_, rank_));
}

double PeftConfig::scale(std::string_view linear) const {
  const auto rank = static_cast<double>(this->rank(linear));
  return value_for(linear, alphas_, alpha_) / (rank_stabilized_ ? std::sqrt(rank) : rank);
}

}  // namespace octet

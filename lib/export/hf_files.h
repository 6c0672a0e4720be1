#pragma once
// What a Hugging Face directory holds besides its tensors, as the text of each file.
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "lib/io/checkpoint.h"

namespace octet {

/// config.json and generation_config.json. dtype: "float32", "bfloat16", "float16"; quantization:
/// the value of quantization_config, or null.
std::map<std::string, std::string> hf_config_files(const ModelConfig& config,
                                                   const std::string& dtype,
                                                   const nlohmann::ordered_json& quantization);

/// tokenizer.json or tokenizer.model, and tokenizer_config.json with the chat template. Empty where
/// the checkpoint has no tokenizer. Errors: those of reading the tokenizer.
std::map<std::string, std::string> hf_tokenizer_files(const CheckpointText& text,
                                                      const ModelConfig& config);

}  // namespace octet

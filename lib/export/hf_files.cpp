// Keys as transformers 4 and 5 and vLLM read them: models/qwen2, qwen3, llama and
// modeling_rope_utils.py (lib/io/hf_config.cpp reads the same).
#include "lib/export/hf_files.h"

#include "lib/core/error.h"
#include "lib/export/flat_tokenizer.h"
#include "lib/text/bpe_export.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;

const char* architecture(const std::string& family) {
  return family == "qwen2"   ? "Qwen2ForCausalLM"
         : family == "qwen3" ? "Qwen3ForCausalLM"
                             : "LlamaForCausalLM";
}

Json rope_scaling(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  if (scaling.kind == RopeScaling::Kind::none) return nullptr;
  const char* const type = scaling.kind == RopeScaling::Kind::linear ? "linear"
                           : scaling.kind == RopeScaling::Kind::yarn ? "yarn"
                                                                     : "dynamic";
  Json json = {{"rope_type", type}, {"factor", scaling.factor}};
  if (scaling.kind != RopeScaling::Kind::yarn) return json;
  if (scaling.original_context > 0)
    json["original_max_position_embeddings"] = scaling.original_context;
  if (scaling.attention_factor > 0) json["attention_factor"] = scaling.attention_factor;
  json["beta_fast"] = scaling.beta_fast;
  json["beta_slow"] = scaling.beta_slow;
  return json;
}

void add_token_ids(const ModelConfig& config, Json& json) {
  if (config.bos_id >= 0) json["bos_token_id"] = config.bos_id;
  if (config.eos_ids.size() == 1)
    json["eos_token_id"] = config.eos_ids[0];
  else if (!config.eos_ids.empty())
    json["eos_token_id"] = config.eos_ids;
}

Json model_config(const ModelConfig& config, const std::string& dtype, const Json& quantization) {
  Json json = {{"architectures", Json::array({architecture(config.family)})},
               {"model_type", config.family},
               {"hidden_act", "silu"},
               {"hidden_size", config.hidden_size},
               {"intermediate_size", config.intermediate_size},
               {"num_hidden_layers", config.num_layers},
               {"num_attention_heads", config.num_heads},
               {"num_key_value_heads", config.num_kv_heads},
               {"head_dim", config.head_dim},
               {"max_position_embeddings", config.max_positions},
               {"rms_norm_eps", config.rms_norm_eps},
               {"rope_theta", config.rope_theta},
               {"rope_scaling", rope_scaling(config)},
               {"tie_word_embeddings", config.tied_head},
               {"vocab_size", config.vocab_size},
               {"use_cache", true},
               {"torch_dtype", dtype}};
  if (config.family != "qwen2") json["attention_bias"] = false;
  if (config.family != "llama") json["use_sliding_window"] = false;
  add_token_ids(config, json);
  if (!quantization.is_null()) json["quantization_config"] = quantization;
  return json;
}

Json generation_config(const ModelConfig& config) {
  Json json = Json::object();
  add_token_ids(config, json);
  if (config.do_sample >= 0) json["do_sample"] = config.do_sample == 1;
  if (config.temperature >= 0) json["temperature"] = config.temperature;
  if (config.top_k >= 0) json["top_k"] = config.top_k;
  if (config.top_p >= 0) json["top_p"] = config.top_p;
  if (config.min_p >= 0) json["min_p"] = config.min_p;
  if (config.repetition_penalty >= 0) json["repetition_penalty"] = config.repetition_penalty;
  return json;
}

Json tokenizer_config(const CheckpointText& text, const FlatTokenizer& tokenizer,
                      const ModelConfig& config) {
  Json json = {{"tokenizer_class", tokenizer.bpe ? "PreTrainedTokenizerFast" : "LlamaTokenizer"},
               {"model_max_length", config.max_positions},
               {"clean_up_tokenization_spaces", false},
               {"add_bos_token", tokenizer.adds_bos()}};
  std::string bos = text.bos_token;
  if (bos.empty() && tokenizer.bpe && tokenizer.bpe->bos_id >= 0)
    bos = tokenizer.bpe->bytes(tokenizer.bpe->bos_id);
  if (!bos.empty()) json["bos_token"] = bos;
  if (!text.eos_token.empty()) json["eos_token"] = text.eos_token;
  if (!text.chat_template.empty()) json["chat_template"] = text.chat_template;
  if (tokenizer.bpe) return json;
  Json added = Json::object();
  for (const AddedToken& token : tokenizer.sentencepiece->added)
    added[std::to_string(token.id)] = {
        {"content", token.text}, {"single_word", false},           {"lstrip", false},
        {"rstrip", false},       {"normalized", token.normalized}, {"special", token.special}};
  json["added_tokens_decoder"] = added;
  return json;
}

}  // namespace

std::map<std::string, std::string> hf_config_files(const ModelConfig& config,
                                                   const std::string& dtype,
                                                   const Json& quantization) {
  return {{"config.json", model_config(config, dtype, quantization).dump(2) + "\n"},
          {"generation_config.json", generation_config(config).dump(2) + "\n"}};
}

std::map<std::string, std::string> hf_tokenizer_files(const CheckpointText& text,
                                                      const ModelConfig& config) {
  std::map<std::string, std::string> files;
  if (!text.tokenizer) return files;
  const FlatTokenizer tokenizer = flat_tokenizer(*text.tokenizer);
  if (tokenizer.bpe)
    files["tokenizer.json"] = bpe_to_json(*tokenizer.bpe);
  else
    files["tokenizer.model"] = tokenizer.sentencepiece->proto;
  files["tokenizer_config.json"] = tokenizer_config(text, tokenizer, config).dump(2) + "\n";
  return files;
}

}  // namespace octet

// Keys and their defaults as in transformers' configuration classes (models/qwen2, qwen3, llama)
// and modeling_rope_utils.py, version 5.23; "rope_scaling" and "type" are version 4's spelling.
#include "lib/io/hf_config.h"

#include <algorithm>
#include <array>
#include <utility>

#include "lib/core/error.h"
#include "lib/io/checkpoint.h"
#include "lib/io/file_kind.h"
#include "lib/io/json.h"
#include "lib/io/json_object.h"

namespace octet {
namespace {

constexpr size_t max_config_bytes = size_t{16} << 20;

struct Family {
  std::string_view model_type, architecture;
};
// Qwen1.5, Qwen2.5 and the R1 distillates of Qwen call themselves qwen2, too.
constexpr std::array<Family, 3> families = {
    {{"qwen2", "Qwen2ForCausalLM"}, {"llama", "LlamaForCausalLM"}, {"qwen3", "Qwen3ForCausalLM"}}};

std::string read_family(const JsonObject& config) {
  const std::string type = config.required_text("model_type");
  const Family* family = nullptr;
  for (const Family& known : families) {
    if (known.model_type == type) family = &known;
  }
  require(family != nullptr, ErrorCode::Unsupported, config.where(), ": model_type \"", type,
          "\"; known are qwen2, llama, qwen3");
  if (const auto* names = config.find("architectures")) {
    // Another head than a language model's (a classifier, an embedding) is another model.
    const nlohmann::json wanted = {family->architecture};
    require(*names == wanted, ErrorCode::Unsupported, config.where(), ": architectures ",
            names->dump(), "; known for ", type, " is ", wanted.dump());
  }
  return type;
}

/// Options that change the arithmetic and that octet does not have.
void reject_unknown_arithmetic(const JsonObject& config) {
  const std::string activation = config.text("hidden_act").value_or("silu");
  require(activation == "silu", ErrorCode::Unsupported, config.where(), ": hidden_act \"",
          activation, "\"; known is silu");
  for (const char* key : {"attention_bias", "mlp_bias", "use_sliding_window", "use_mrope"}) {
    require(!config.boolean(key).value_or(false), ErrorCode::Unsupported, config.where(), ": ", key,
            " is true; known is false");
  }
  const auto* layer_types = config.find("layer_types");
  for (const auto& type : layer_types ? *layer_types : nlohmann::json::array()) {
    require(type == "full_attention", ErrorCode::Unsupported, config.where(), ": layer_types ",
            type.dump(), "; known is full_attention");
  }
}

void read_yarn(const JsonObject& rope, RopeScaling& scaling) {
  for (const char* key : {"mscale", "mscale_all_dim"}) {
    require(!rope.has(key), ErrorCode::Unsupported, rope.where(), ": ", key,
            " is not known for yarn");
  }
  require(rope.boolean("truncate").value_or(true), ErrorCode::Unsupported, rope.where(),
          ": truncate is false; known is true");
  scaling.original_context = rope.integer("original_max_position_embeddings").value_or(0);
  scaling.attention_factor = rope.number("attention_factor").value_or(0);
  scaling.beta_fast = rope.number("beta_fast").value_or(32);
  scaling.beta_slow = rope.number("beta_slow").value_or(1);
}

RopeScaling read_rope_scaling(const JsonObject& rope) {
  RopeScaling scaling;
  const std::string type = rope.text("rope_type").value_or(rope.text("type").value_or("default"));
  if (type == "default") return scaling;
  if (type == "linear") {
    scaling.kind = RopeScaling::Kind::linear;
  } else if (type == "dynamic") {
    scaling.kind = RopeScaling::Kind::dynamic_ntk;
  } else if (type == "yarn") {
    scaling.kind = RopeScaling::Kind::yarn;
    read_yarn(rope, scaling);
  } else {
    fail(ErrorCode::Unsupported, rope.where(), ": rope type \"", type,
         "\"; known are default, linear, dynamic, yarn");
  }
  scaling.factor = rope.required_number("factor");
  return scaling;
}

void read_rope(const JsonObject& file, ModelConfig& config) {
  config.rope_theta = file.number("rope_theta").value_or(1e4);
  auto rope = file.object("rope_scaling");
  if (!rope || rope->value().empty()) rope = file.object("rope_parameters");
  for (const JsonObject& object : {file, rope.value_or(file)}) {
    require(object.number("partial_rotary_factor").value_or(1) == 1, ErrorCode::Unsupported,
            object.where(), ": partial_rotary_factor is not 1; known is 1");
  }
  if (!rope) return;
  for (const auto& [key, value] : rope->value().items()) {
    require(!value.is_object(), ErrorCode::Unsupported, rope->where(), ": ", key,
            ": one RoPE a layer type; known is one for all layers");
  }
  config.rope_theta = rope->number("rope_theta").value_or(config.rope_theta);
  config.rope_scaling = read_rope_scaling(*rope);
}

void read_shape(const JsonObject& file, ModelConfig& config) {
  config.vocab_size = file.required_integer("vocab_size");
  config.hidden_size = file.required_integer("hidden_size");
  config.num_layers = file.required_integer("num_hidden_layers");
  config.num_heads = file.required_integer("num_attention_heads");
  config.num_kv_heads = file.integer("num_key_value_heads").value_or(config.num_heads);
  config.intermediate_size = file.required_integer("intermediate_size");
  config.max_positions = file.required_integer("max_position_embeddings");
  config.rms_norm_eps = file.number("rms_norm_eps").value_or(1e-6);
  if (const auto head_dim = file.integer("head_dim")) {
    config.head_dim = *head_dim;
  } else if (config.family == "qwen3") {
    config.head_dim = 128;  // Qwen3Config's default, whatever hidden_size / heads is
  } else {
    require(config.num_heads > 0 && config.hidden_size % config.num_heads == 0,
            ErrorCode::InvalidFile, file.where(), ": hidden_size ", config.hidden_size,
            " cannot be divided among ", config.num_heads, " heads");
    config.head_dim = config.hidden_size / config.num_heads;
  }
}

int32_t token_id(int64_t id, std::string_view key, const JsonObject& file) {
  require(id >= 0 && std::in_range<int32_t>(id), ErrorCode::InvalidFile, file.where(), ": ", key,
          " is ", id);
  return static_cast<int32_t>(id);
}

void read_token_ids(const JsonObject& file, ModelConfig& config) {
  if (const auto bos = file.integer("bos_token_id"))
    config.bos_id = token_id(*bos, "bos_token_id", file);
  if (!file.has("eos_token_id")) return;
  config.eos_ids.clear();
  for (int64_t id : file.integers("eos_token_id"))
    config.eos_ids.push_back(token_id(id, "eos_token_id", file));
}

void read_generation_config(const std::string& path, ModelConfig& config) {
  const nlohmann::json document = read_json(path, max_config_bytes);
  const JsonObject file(document, path);
  read_token_ids(file, config);
  if (const auto sample = file.boolean("do_sample")) config.do_sample = *sample ? 1 : 0;
  config.temperature = file.number("temperature").value_or(-1);
  // Some files say -1 for "no limit".
  if (const auto top_k = file.integer("top_k")) config.top_k = std::max<int64_t>(*top_k, 0);
  config.top_p = file.number("top_p").value_or(-1);
  config.min_p = file.number("min_p").value_or(-1);
  config.repetition_penalty = file.number("repetition_penalty").value_or(-1);
}

}  // namespace

ModelConfig read_hf_config(const std::string& directory) {
  const std::string path = directory + "/config.json";
  const nlohmann::json document = read_json(path, max_config_bytes);
  const JsonObject file(document, path);
  ModelConfig config;
  config.family = read_family(file);
  reject_unknown_arithmetic(file);
  read_shape(file, config);
  read_rope(file, config);
  config.qkv_bias = config.family == "qwen2";
  config.qk_norm = config.family == "qwen3";
  // False is the default of all three families. A checkpoint that is not tied and has no
  // lm_head.weight is an error here; transformers would fill the head with random numbers and
  // warn.
  config.tied_head = file.boolean("tie_word_embeddings").value_or(false);
  read_token_ids(file, config);
  const std::string generation = directory + "/generation_config.json";
  if (file_exists(generation)) read_generation_config(generation, config);
  check_config(config, path);
  return config;
}

}  // namespace octet

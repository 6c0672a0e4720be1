// Keys and tensor names: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and llama.cpp's
// gguf-py/gguf/constants.py.
#include "lib/io/gguf_checkpoint.h"

#include <algorithm>
#include <array>
#include <utility>

#include "lib/core/error.h"
#include "lib/io/gguf.h"
#include "lib/io/gguf_vocabulary.h"
#include "lib/io/mapped_checkpoint.h"

namespace octet {
namespace {

using NamePair = std::pair<std::string_view, std::string_view>;  // GGUF, Hugging Face

constexpr std::array<NamePair, 3> model_names = {
    {{"token_embd.weight", "model.embed_tokens.weight"},
     {"output_norm.weight", "model.norm.weight"},
     {"output.weight", "lm_head.weight"}}};

constexpr std::array<NamePair, 14> layer_names = {
    {{"attn_norm.weight", "input_layernorm.weight"},
     {"attn_q.weight", "self_attn.q_proj.weight"},
     {"attn_q.bias", "self_attn.q_proj.bias"},
     {"attn_k.weight", "self_attn.k_proj.weight"},
     {"attn_k.bias", "self_attn.k_proj.bias"},
     {"attn_v.weight", "self_attn.v_proj.weight"},
     {"attn_v.bias", "self_attn.v_proj.bias"},
     {"attn_q_norm.weight", "self_attn.q_norm.weight"},
     {"attn_k_norm.weight", "self_attn.k_norm.weight"},
     {"attn_output.weight", "self_attn.o_proj.weight"},
     {"ffn_norm.weight", "post_attention_layernorm.weight"},
     {"ffn_gate.weight", "mlp.gate_proj.weight"},
     {"ffn_up.weight", "mlp.up_proj.weight"},
     {"ffn_down.weight", "mlp.down_proj.weight"}}};

template <size_t size>
std::string_view translate(const std::array<NamePair, size>& names, std::string_view name) {
  const auto found = std::find_if(names.begin(), names.end(),
                                  [&](const NamePair& pair) { return pair.first == name; });
  return found == names.end() ? std::string_view() : found->second;
}

/// The Hugging Face name. Errors: Unsupported for a tensor that a layer or RoPE would need.
std::string hf_name(const std::string& name, const std::string& where) {
  if (const auto model_name = translate(model_names, name); !model_name.empty())
    return std::string(model_name);
  if (name.starts_with("blk.")) {
    const size_t dot = name.find('.', 4);
    const std::string rest = dot == std::string::npos ? "" : name.substr(dot + 1);
    const auto layer_name = translate(layer_names, rest);
    require(!layer_name.empty(), ErrorCode::Unsupported, where, ": tensor ", name,
            "; known in a layer are attn_{norm,q,k,v,q_norm,k_norm,output} and "
            "ffn_{norm,gate,up,down}");
    return str("model.layers.", name.substr(4, dot - 4), ".", layer_name);
  }
  require(!name.starts_with("rope_"), ErrorCode::Unsupported, where, ": tensor ", name,
          ": RoPE frequencies in the file; known are those that follow from rope.freq_base");
  return name;
}

template <size_t size>
std::string_view translate_back(const std::array<NamePair, size>& names, std::string_view name) {
  const auto found = std::find_if(names.begin(), names.end(),
                                  [&](const NamePair& pair) { return pair.second == name; });
  return found == names.end() ? std::string_view() : found->first;
}

/// The "<architecture>.*" keys as a ModelConfig.
class ConfigReader {
 public:
  ConfigReader(const Gguf& gguf, const std::string& where) : gguf_(gguf), where_(where) {}

  ModelConfig read() {
    read_architecture();
    config_.hidden_size = required("embedding_length");
    config_.num_layers = required("block_count");
    config_.intermediate_size = required("feed_forward_length");
    config_.max_positions = required("context_length");
    const auto eps = gguf_.number(key("attention.layer_norm_rms_epsilon"));
    require(eps.has_value(), ErrorCode::InvalidFile, where_, ": ",
            key("attention.layer_norm_rms_epsilon"), " is missing");
    config_.rms_norm_eps = *eps;
    read_heads();
    read_rope();
    read_tensors();
    read_token_ids();
    check_config(config_, where_);
    return config_;
  }

 private:
  std::string key(std::string_view name) const { return str(config_.family, ".", name); }

  int64_t required(std::string_view name) const {
    const auto value = gguf_.integer(key(name));
    require(value.has_value(), ErrorCode::InvalidFile, where_, ": ", key(name), " is missing");
    return *value;
  }

  void read_architecture() {
    const auto architecture = gguf_.text("general.architecture");
    require(architecture.has_value(), ErrorCode::InvalidFile, where_,
            ": general.architecture is missing");
    config_.family = *architecture;
    require(config_.family == "qwen2" || config_.family == "llama" || config_.family == "qwen3",
            ErrorCode::Unsupported, where_, ": general.architecture \"", config_.family,
            "\"; known are qwen2, llama, qwen3");
    for (const char* name : {"expert_count", "attention.sliding_window"}) {
      require(gguf_.integer(key(name)).value_or(0) == 0, ErrorCode::Unsupported, where_, ": ",
              key(name), " is not 0; known is 0");
    }
  }

  void read_heads() {
    config_.num_heads = required("attention.head_count");
    config_.num_kv_heads =
        gguf_.integer(key("attention.head_count_kv")).value_or(config_.num_heads);
    if (const auto head_dim = gguf_.integer(key("attention.key_length"))) {
      config_.head_dim = *head_dim;
    } else {
      require(config_.num_heads > 0 && config_.hidden_size % config_.num_heads == 0,
              ErrorCode::InvalidFile, where_, ": embedding_length ", config_.hidden_size,
              " cannot be divided among ", config_.num_heads, " heads");
      config_.head_dim = config_.hidden_size / config_.num_heads;
    }
    for (const char* name : {"attention.value_length", "rope.dimension_count"}) {
      const int64_t length = gguf_.integer(key(name)).value_or(config_.head_dim);
      require(length == config_.head_dim, ErrorCode::Unsupported, where_, ": ", key(name), " is ",
              length, "; known is the head's ", config_.head_dim);
    }
  }

  void read_rope() {
    config_.rope_theta = gguf_.number(key("rope.freq_base")).value_or(1e4);
    RopeScaling& scaling = config_.rope_scaling;
    const std::string type = gguf_.text(key("rope.scaling.type")).value_or("none");
    // The same factor under the key of older files.
    const double scale_linear = gguf_.number(key("rope.scale_linear")).value_or(1);
    if (type == "linear" || (type == "none" && scale_linear != 1)) {
      scaling.kind = RopeScaling::Kind::linear;
    } else if (type == "yarn") {
      scaling.kind = RopeScaling::Kind::yarn;
    } else {
      require(type == "none", ErrorCode::Unsupported, where_, ": ", key("rope.scaling.type"),
              " is \"", type, "\"; known are none, linear, yarn");
      return;
    }
    scaling.factor = gguf_.number(key("rope.scaling.factor")).value_or(scale_linear);
    scaling.original_context =
        gguf_.integer(key("rope.scaling.original_context_length")).value_or(0);
    scaling.beta_fast = gguf_.number(key("rope.scaling.yarn_beta_fast")).value_or(32);
    scaling.beta_slow = gguf_.number(key("rope.scaling.yarn_beta_slow")).value_or(1);
    // llama.cpp multiplies by these where Hugging Face replaces.
    for (const char* name : {"attn_factor", "yarn_attn_factor", "yarn_ext_factor"}) {
      const std::string full = key(str("rope.scaling.", name));
      require(gguf_.number(full).value_or(1) == 1, ErrorCode::Unsupported, where_, ": ", full,
              " is not 1; known is 1");
    }
    require(!gguf_.has(key("rope.scaling.yarn_log_multiplier")), ErrorCode::Unsupported, where_,
            ": ", key("rope.scaling.yarn_log_multiplier"), " is not known");
  }

  /// What the keys do not say and the presence of tensors does.
  void read_tensors() {
    config_.tied_head = true;
    config_.qk_norm = config_.family == "qwen3";
    for (const GgufTensor& tensor : gguf_.tensors()) {
      if (tensor.name == "token_embd.weight") config_.vocab_size = tensor.shape[0];
      if (tensor.name == "output.weight") config_.tied_head = false;
      if (tensor.name == "blk.0.attn_q.bias") config_.qkv_bias = true;
    }
    // llama's biases would be permuted like its weights; qwen3's come with one on o_proj.
    require(!config_.qkv_bias || config_.family == "qwen2", ErrorCode::Unsupported, where_,
            ": tensor blk.0.attn_q.bias in a ", config_.family, " model; known is none");
    require(config_.vocab_size > 0, ErrorCode::InvalidFile, where_,
            ": tensor token_embd.weight is missing");
    const int64_t vocab_size = gguf_.integer(key("vocab_size")).value_or(config_.vocab_size);
    require(vocab_size == config_.vocab_size, ErrorCode::InvalidFile, where_, ": ",
            key("vocab_size"), " is ", vocab_size, ", token_embd.weight has ", config_.vocab_size,
            " rows");
  }

  void read_token_ids() {
    const auto id = [&](const char* name) {
      const int64_t value = gguf_.integer(name).value_or(-1);
      if (value == UINT32_MAX) return int32_t{-1};  // "none"
      require(std::in_range<int32_t>(value), ErrorCode::InvalidFile, where_, ": ", name, " is ",
              value);
      return static_cast<int32_t>(value);
    };
    config_.bos_id = id("tokenizer.ggml.bos_token_id");
    for (const char* name : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                             "tokenizer.ggml.eom_token_id"}) {
      const int32_t end = id(name);
      const auto& known = config_.eos_ids;
      if (end != -1 && std::find(known.begin(), known.end(), end) == known.end())
        config_.eos_ids.push_back(end);
    }
  }

  const Gguf& gguf_;
  const std::string& where_;
  ModelConfig config_;
};

CheckpointText read_text(const Gguf& gguf, const std::string& where) {
  CheckpointText text;
  text.chat_template = gguf.text("tokenizer.chat_template").value_or("");
  auto vocabulary = read_gguf_vocabulary(gguf, where);
  if (!vocabulary) return text;
  const auto token = [&](int32_t id) {
    return id < 0 ? std::string() : vocabulary->tokens[static_cast<size_t>(id)];
  };
  text.bos_token = token(vocabulary->bos_id);
  text.eos_token = token(vocabulary->eos_id);
  text.tokenizer.emplace();
  text.tokenizer->kind = TokenizerSource::Kind::gguf;
  text.tokenizer->where = where;
  text.tokenizer->gguf = *std::move(vocabulary);
  return text;
}

class GgufCheckpoint final : public MappedCheckpoint {
 public:
  explicit GgufCheckpoint(const std::string& path) {
    path_ = path;
    const MappedFile& file = map(path);
    const Gguf gguf(file.bytes(), path);
    format_ = str("gguf ", gguf.version());
    config_ = ConfigReader(gguf, path_).read();
    for (const GgufTensor& tensor : gguf.tensors()) {
      const std::string name = hf_name(tensor.name, path);
      MappedTensor stored;
      stored.file = &file;
      stored.type = tensor.type;
      stored.data = tensor.data;
      stored.interleaved_heads = interleaved_heads(tensor);
      add(name, tensor.type->name, tensor.shape, stored);
    }
    text_ = read_text(gguf, path_);
  }

 private:
  /// llama.cpp's converter permutes q and k of the llama architecture for its own RoPE, which
  /// pairs neighbours. A shape that does not fit is left to the comparison with the config.
  int64_t interleaved_heads(const GgufTensor& tensor) const {
    if (config_.family != "llama" || tensor.shape.size() != 2) return 0;
    if (tensor.name.ends_with(".attn_q.weight")) return fitting(config_.num_heads, tensor);
    if (tensor.name.ends_with(".attn_k.weight")) return fitting(config_.num_kv_heads, tensor);
    return 0;
  }

  int64_t fitting(int64_t heads, const GgufTensor& tensor) const {
    return tensor.shape[0] == heads * config_.head_dim ? heads : 0;
  }
};

}  // namespace

std::string gguf_name(const std::string& hf_name) {
  constexpr std::string_view layers = "model.layers.";
  std::string_view name = translate_back(model_names, hf_name);
  if (!name.empty() || !hf_name.starts_with(layers)) return std::string(name);
  const size_t dot = hf_name.find('.', layers.size());
  name = translate_back(layer_names, std::string_view(hf_name).substr(dot + 1));
  return str("blk.", hf_name.substr(layers.size(), dot - layers.size()), ".", name);
}

CheckpointText read_gguf_text(const std::string& path) {
  const MappedFile file(path);
  return read_text(Gguf(file.bytes(), path), path);
}

std::unique_ptr<Checkpoint> open_gguf(const std::string& path) {
  return std::make_unique<GgufCheckpoint>(path);
}

}  // namespace octet

#include "lib/io/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "lib/core/error.h"
#include "lib/io/file_kind.h"
#include "lib/io/gguf_checkpoint.h"
#include "lib/io/huggingface.h"
#include "lib/io/weight_types.h"

namespace octet {
namespace {

// Above every model that exists, and low enough that no product of them overflows. A linear's K
// is also what int32 sums of int8 products hold (kernels/types.h).
constexpr int64_t max_width = 131'072;
constexpr int64_t max_layers = 1'024;
constexpr int64_t max_vocab = int64_t{1} << 24;
constexpr int64_t max_context = int64_t{1} << 30;

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (int64_t extent : shape) text += (text.empty() ? "" : ", ") + std::to_string(extent);
  return "[" + text + "]";
}

void check_tensor(const Checkpoint& checkpoint, const ModelTensor& wanted,
                  const CheckpointTensor* found) {
  const std::string label = checkpoint.path() + ": tensor " + wanted.name;
  require(found != nullptr, ErrorCode::InvalidFile, label, " is missing");
  require(found->shape == wanted.shape, ErrorCode::InvalidFile, label, ": shape ",
          shape_text(found->shape), ", the config asks for ", shape_text(wanted.shape));
  require(find_weight_type(found->type) != nullptr || checkpoint.is_quantized(wanted.name),
          ErrorCode::Unsupported, label, ": type ", found->type,
          " where weights are needed (an already quantized checkpoint?); known are ",
          known_weight_types());
}

/// Every tensor that the config asks for is there, of its shape and of a type that octet reads.
void check_tensors(const Checkpoint& checkpoint) {
  std::map<std::string_view, const CheckpointTensor*> by_name;
  for (const CheckpointTensor& tensor : checkpoint.tensors()) by_name[tensor.name] = &tensor;
  for (const ModelTensor& wanted : model_tensors(checkpoint.config())) {
    const auto found = by_name.find(wanted.name);
    check_tensor(checkpoint, wanted, found == by_name.end() ? nullptr : found->second);
  }
}

void check_extent(const char* name, int64_t value, int64_t largest, const std::string& where) {
  require(value > 0, ErrorCode::InvalidFile, where, ": ", name, " is ", value,
          ", it has to be positive");
  require(value <= largest, ErrorCode::Unsupported, where, ": ", name, " is ", value,
          ", octet takes at most ", largest);
}

void check_rope(const ModelConfig& config, const std::string& where) {
  const RopeScaling& scaling = config.rope_scaling;
  require(config.rope_theta > 1 && std::isfinite(config.rope_theta), ErrorCode::InvalidFile, where,
          ": rope_theta is ", config.rope_theta, ", it has to be above 1");
  require(scaling.factor >= 1 && std::isfinite(scaling.factor), ErrorCode::InvalidFile, where,
          ": rope scaling factor is ", scaling.factor, ", it has to be at least 1");
  require(scaling.kind != RopeScaling::Kind::dynamic_ntk || config.head_dim > 2,
          ErrorCode::Unsupported, where, ": dynamic RoPE scaling needs a head_dim above 2");
  require(scaling.original_context >= 0 && scaling.original_context <= max_context,
          ErrorCode::InvalidFile, where, ": original_max_position_embeddings is ",
          scaling.original_context);
  require(scaling.attention_factor >= 0 && std::isfinite(scaling.attention_factor),
          ErrorCode::InvalidFile, where, ": attention_factor is ", scaling.attention_factor);
  require(scaling.beta_slow > 0 && scaling.beta_fast >= scaling.beta_slow &&
              std::isfinite(scaling.beta_fast),
          ErrorCode::InvalidFile, where, ": beta_fast is ", scaling.beta_fast, " and beta_slow is ",
          scaling.beta_slow);
}

void check_tokens(const ModelConfig& config, const std::string& where) {
  require(config.bos_id >= -1 && config.bos_id < config.vocab_size, ErrorCode::InvalidFile, where,
          ": bos_token_id is ", config.bos_id, ", the vocabulary has ", config.vocab_size);
  for (int32_t id : config.eos_ids) {
    require(id >= 0 && id < config.vocab_size, ErrorCode::InvalidFile, where, ": eos_token_id is ",
            id, ", the vocabulary has ", config.vocab_size);
  }
}

/// Negative values mean that the checkpoint says nothing.
void check_generation(const ModelConfig& config, const std::string& where) {
  const auto check = [&](const char* name, double value, double largest) {
    require(value <= largest, ErrorCode::InvalidFile, where, ": ", name, " is ", value,
            ", at most ", largest, " is allowed");
  };
  check("do_sample", config.do_sample, 1);
  check("temperature", config.temperature, 1e6);
  check("top_p", config.top_p, 1);
  check("min_p", config.min_p, 1);
  check("repetition_penalty", config.repetition_penalty, 1e6);
  require(config.repetition_penalty != 0, ErrorCode::InvalidFile, where,
          ": repetition_penalty is 0");
}

}  // namespace

void Checkpoint::read_quantized_rows(std::string_view name, int64_t, int64_t, int8_t*,
                                     float*) const {
  fail(ErrorCode::Internal, path_, ": tensor ", name, " is not quantized");
}

const CheckpointTensor* Checkpoint::find(std::string_view name) const {
  const auto found =
      std::find_if(tensors_.begin(), tensors_.end(),
                   [&](const CheckpointTensor& tensor) { return tensor.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

std::unique_ptr<Checkpoint> open_checkpoint(const std::string& path) {
  std::unique_ptr<Checkpoint> checkpoint;
  switch (file_kind(path)) {
    case FileKind::directory:
    case FileKind::safetensors:
      checkpoint = open_huggingface(path);
      break;
    case FileKind::gguf:
      checkpoint = open_gguf(path);
      break;
    default:
      fail(ErrorCode::Unsupported, path,
           ": not a checkpoint; known are Hugging Face directories, .safetensors and .gguf files");
  }
  check_tensors(*checkpoint);
  return checkpoint;
}

bool is_linear(std::string_view name) {
  return name.ends_with("_proj.weight") || name == "lm_head.weight";
}

std::vector<ModelTensor> layer_tensors(const ModelConfig& config, int64_t layer) {
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const int64_t q = config.num_heads * config.head_dim;
  const int64_t kv = config.num_kv_heads * config.head_dim;
  std::vector<ModelTensor> tensors;
  const auto add = [&](const char* name, std::vector<int64_t> shape) {
    tensors.push_back({str("model.layers.", layer, ".", name), std::move(shape)});
  };
  add("input_layernorm.weight", {hidden});
  add("self_attn.q_proj.weight", {q, hidden});
  if (config.qkv_bias) add("self_attn.q_proj.bias", {q});
  add("self_attn.k_proj.weight", {kv, hidden});
  if (config.qkv_bias) add("self_attn.k_proj.bias", {kv});
  add("self_attn.v_proj.weight", {kv, hidden});
  if (config.qkv_bias) add("self_attn.v_proj.bias", {kv});
  if (config.qk_norm) add("self_attn.q_norm.weight", {config.head_dim});
  if (config.qk_norm) add("self_attn.k_norm.weight", {config.head_dim});
  add("self_attn.o_proj.weight", {hidden, q});
  add("post_attention_layernorm.weight", {hidden});
  add("mlp.gate_proj.weight", {inner, hidden});
  add("mlp.up_proj.weight", {inner, hidden});
  add("mlp.down_proj.weight", {hidden, inner});
  return tensors;
}

std::vector<ModelTensor> model_tensors(const ModelConfig& config) {
  const int64_t hidden = config.hidden_size;
  std::vector<ModelTensor> tensors = {{"model.embed_tokens.weight", {config.vocab_size, hidden}}};
  for (int64_t layer = 0; layer < config.num_layers; ++layer)
    for (ModelTensor& tensor : layer_tensors(config, layer)) tensors.push_back(std::move(tensor));
  tensors.push_back({"model.norm.weight", {hidden}});
  if (!config.tied_head) tensors.push_back({"lm_head.weight", {config.vocab_size, hidden}});
  return tensors;
}

CheckpointText read_checkpoint_text(const std::string& path) {
  switch (file_kind(path)) {
    case FileKind::gguf:
      return read_gguf_text(path);
    case FileKind::directory:
      return read_huggingface_text(path);
    default:
      return read_huggingface_text(folder_of(path));
  }
}

void check_config(const ModelConfig& config, const std::string& where) {
  require(config.family == "qwen2" || config.family == "llama" || config.family == "qwen3",
          ErrorCode::Unsupported, where, ": model family \"", config.family,
          "\"; known are qwen2, llama, qwen3");
  check_extent("vocab_size", config.vocab_size, max_vocab, where);
  check_extent("hidden_size", config.hidden_size, max_width, where);
  check_extent("num_layers", config.num_layers, max_layers, where);
  check_extent("num_heads", config.num_heads, max_width, where);
  check_extent("num_kv_heads", config.num_kv_heads, max_width, where);
  check_extent("head_dim", config.head_dim, max_width, where);
  check_extent("num_heads * head_dim", config.num_heads * config.head_dim, max_width, where);
  check_extent("intermediate_size", config.intermediate_size, max_width, where);
  check_extent("max_positions", config.max_positions, max_context, where);
  require(config.num_heads % config.num_kv_heads == 0, ErrorCode::InvalidFile, where, ": ",
          config.num_heads, " heads cannot share ", config.num_kv_heads, " kv heads");
  require(config.head_dim % 2 == 0, ErrorCode::Unsupported, where, ": head_dim is ",
          config.head_dim, ", RoPE needs an even number");
  require(config.rms_norm_eps > 0 && config.rms_norm_eps < 1, ErrorCode::InvalidFile, where,
          ": rms_norm_eps is ", config.rms_norm_eps, ", it has to lie between 0 and 1");
  check_rope(config, where);
  check_tokens(config, where);
  check_generation(config, where);
}

}  // namespace octet

// ModelConfig as a converted file keeps it: one JSON object, keys named as the fields.
#include <array>
#include <string_view>
#include <utility>

#include "lib/core/error.h"
#include "lib/io/checkpoint.h"
#include "lib/io/json.h"
#include "lib/io/json_object.h"

namespace octet {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<RopeScaling::Kind, std::string_view>, 4> kinds = {
    {{RopeScaling::Kind::none, "none"},
     {RopeScaling::Kind::linear, "linear"},
     {RopeScaling::Kind::yarn, "yarn"},
     {RopeScaling::Kind::dynamic_ntk, "dynamic_ntk"}}};

json rope_to_json(const RopeScaling& scaling) {
  json object = {{"factor", scaling.factor},
                 {"original_context", scaling.original_context},
                 {"attention_factor", scaling.attention_factor},
                 {"beta_fast", scaling.beta_fast},
                 {"beta_slow", scaling.beta_slow}};
  for (const auto& [kind, name] : kinds) {
    if (kind == scaling.kind) object["kind"] = name;
  }
  return object;
}

RopeScaling rope_from_json(const JsonObject& object) {
  RopeScaling scaling;
  const std::string found = object.required_text("kind");
  bool known = false;
  for (const auto& [kind, name] : kinds) {
    if (name != found) continue;
    scaling.kind = kind;
    known = true;
  }
  require(known, ErrorCode::InvalidFile, object.where(), ": unknown kind \"", found, "\"");
  scaling.factor = object.required_number("factor");
  scaling.original_context = object.required_integer("original_context");
  scaling.attention_factor = object.required_number("attention_factor");
  scaling.beta_fast = object.required_number("beta_fast");
  scaling.beta_slow = object.required_number("beta_slow");
  return scaling;
}

int32_t narrow(int64_t value, std::string_view key, const std::string& where) {
  require(std::in_range<int32_t>(value), ErrorCode::InvalidFile, where, ": ", key, ": ", value,
          " is out of range");
  return static_cast<int32_t>(value);
}

void generation_from_json(const JsonObject& object, ModelConfig& config) {
  config.bos_id = narrow(object.required_integer("bos_id"), "bos_id", object.where());
  for (int64_t id : object.integers("eos_ids"))
    config.eos_ids.push_back(narrow(id, "eos_ids", object.where()));
  config.do_sample = narrow(object.required_integer("do_sample"), "do_sample", object.where());
  config.temperature = object.required_number("temperature");
  config.top_k = object.required_integer("top_k");
  config.top_p = object.required_number("top_p");
  config.min_p = object.required_number("min_p");
  config.repetition_penalty = object.required_number("repetition_penalty");
}

}  // namespace

std::string config_to_json(const ModelConfig& config) {
  const json object = {{"family", config.family},
                       {"vocab_size", config.vocab_size},
                       {"hidden_size", config.hidden_size},
                       {"num_layers", config.num_layers},
                       {"num_heads", config.num_heads},
                       {"num_kv_heads", config.num_kv_heads},
                       {"head_dim", config.head_dim},
                       {"intermediate_size", config.intermediate_size},
                       {"max_positions", config.max_positions},
                       {"rms_norm_eps", config.rms_norm_eps},
                       {"rope_theta", config.rope_theta},
                       {"rope_scaling", rope_to_json(config.rope_scaling)},
                       {"tied_head", config.tied_head},
                       {"qkv_bias", config.qkv_bias},
                       {"qk_norm", config.qk_norm},
                       {"bos_id", config.bos_id},
                       {"eos_ids", config.eos_ids},
                       {"do_sample", config.do_sample},
                       {"temperature", config.temperature},
                       {"top_k", config.top_k},
                       {"top_p", config.top_p},
                       {"min_p", config.min_p},
                       {"repetition_penalty", config.repetition_penalty}};
  return object.dump();
}

ModelConfig config_from_json(std::string_view text, const std::string& where) {
  const json document = parse_json(text, where);
  const JsonObject object(document, where);
  ModelConfig config;
  config.family = object.required_text("family");
  config.vocab_size = object.required_integer("vocab_size");
  config.hidden_size = object.required_integer("hidden_size");
  config.num_layers = object.required_integer("num_layers");
  config.num_heads = object.required_integer("num_heads");
  config.num_kv_heads = object.required_integer("num_kv_heads");
  config.head_dim = object.required_integer("head_dim");
  config.intermediate_size = object.required_integer("intermediate_size");
  config.max_positions = object.required_integer("max_positions");
  config.rms_norm_eps = object.required_number("rms_norm_eps");
  config.rope_theta = object.required_number("rope_theta");
  config.rope_scaling = rope_from_json(object.required_object("rope_scaling"));
  config.tied_head = object.required_boolean("tied_head");
  config.qkv_bias = object.required_boolean("qkv_bias");
  config.qk_norm = object.required_boolean("qk_norm");
  generation_from_json(object, config);
  check_config(config, where);
  return config;
}

}  // namespace octet

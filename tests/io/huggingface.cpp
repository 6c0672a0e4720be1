// Hugging Face directories: config.json of every family, shards, what must not be there.
#include "lib/io/huggingface.h"

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "lib/core/error.h"
#include "lib/io/hf_config.h"
#include "support/fixtures.h"
#include "support/temporary_folder.h"

using namespace octet;
using nlohmann::json;
using test::TemporaryFolder;
using testing::fixture;

namespace {

/// Qwen2.5-1.5B-Instruct's config.json.
json qwen2() {
  return json::parse(R"({
    "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
    "eos_token_id": 151645, "hidden_act": "silu", "hidden_size": 1536, "initializer_range": 0.02,
    "intermediate_size": 8960, "max_position_embeddings": 32768, "max_window_layers": 21,
    "model_type": "qwen2", "num_attention_heads": 12, "num_hidden_layers": 28,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
    "sliding_window": 32768, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
    "transformers_version": "4.43.1", "use_cache": true, "use_sliding_window": false,
    "vocab_size": 151936})");
}

json qwen2_with(const json& changes) {
  json config = qwen2();
  config.update(changes);
  return config;
}

json qwen2_without(const char* key) {
  json config = qwen2();
  config.erase(key);
  return config;
}

ModelConfig read(const json& config, const json& generation = nullptr) {
  const TemporaryFolder folder;
  folder.write("config.json", config.dump());
  if (!generation.is_null()) folder.write("generation_config.json", generation.dump());
  return read_hf_config(folder.path());
}

template <class Action>
void check_fails(Action action, ErrorCode code, const std::string& file,
                 const std::string& reason) {
  try {
    action();
    FAIL_CHECK("succeeded in spite of: ", reason);
  } catch (const Error& error) {
    CAPTURE(std::string(error.what()));
    CHECK(std::string(to_string(error.code())) == to_string(code));
    CHECK(std::string(error.what()).find(file) != std::string::npos);
    CHECK(std::string(error.what()).find(reason) != std::string::npos);
  }
}

void check_unsupported(const json& config, const std::string& reason) {
  check_fails([&] { read(config); }, ErrorCode::Unsupported, "config.json", reason);
}

void check_invalid(const json& config, const std::string& reason) {
  check_fails([&] { read(config); }, ErrorCode::InvalidFile, "config.json", reason);
}

/// Bytes of a safetensors file of fp32 zeros.
std::string zeros(const std::vector<ModelTensor>& tensors) {
  json header = json::object();
  size_t end = 0;
  for (const ModelTensor& tensor : tensors) {
    size_t bytes = 4;
    for (int64_t extent : tensor.shape) bytes *= static_cast<size_t>(extent);
    header[tensor.name] = {
        {"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {end, end + bytes}}};
    end += bytes;
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + text + std::string(end, '\0');
}

/// A directory with a small model's config; its tensors are for the test to place.
class Directory {
 public:
  Directory() : Directory(json::object()) {}
  explicit Directory(const json& changes) {
    json config = qwen2_with({{"hidden_size", 8},
                              {"num_attention_heads", 2},
                              {"num_key_value_heads", 1},
                              {"num_hidden_layers", 1},
                              {"intermediate_size", 12},
                              {"vocab_size", 10},
                              {"bos_token_id", nullptr},
                              {"eos_token_id", nullptr}});
    config.update(changes);
    folder_.write("config.json", config.dump());
    tensors_ = model_tensors(read_hf_config(folder_.path()));
  }
  std::vector<ModelTensor>& tensors() { return tensors_; }
  const TemporaryFolder& folder() const { return folder_; }

  /// Tensors [begin, end) as one file.
  void write(const std::string& name, size_t begin, size_t end) const {
    folder_.write(name, zeros({tensors_.begin() + static_cast<ptrdiff_t>(begin),
                               tensors_.begin() + static_cast<ptrdiff_t>(end)}));
  }
  void write_index(const json& weight_map) const {
    folder_.write("model.safetensors.index.json", json{{"weight_map", weight_map}}.dump());
  }
  std::unique_ptr<Checkpoint> open() const { return open_checkpoint(folder_.path()); }
  void check_refused(const std::string& file, const std::string& reason,
                     ErrorCode code = ErrorCode::InvalidFile) const {
    check_fails([&] { open(); }, code, file, reason);
  }

 private:
  TemporaryFolder folder_;
  std::vector<ModelTensor> tensors_;
};

/// The first half of the tensors in a.safetensors, the others in b.safetensors.
struct TwoShards : Directory {
  json weight_map = json::object();
  TwoShards() {
    const size_t half = tensors().size() / 2;
    for (size_t i = 0; i < tensors().size(); ++i)
      weight_map[tensors()[i].name] = i < half ? "a.safetensors" : "b.safetensors";
    write("a.safetensors", 0, half);
    write("b.safetensors", half, tensors().size());
  }
};

}  // namespace

TEST_CASE("Qwen2.5: every key of config.json and generation_config.json arrives") {
  const ModelConfig config = read(qwen2(), {{"bos_token_id", 151643},
                                            {"pad_token_id", 151643},
                                            {"do_sample", true},
                                            {"eos_token_id", {151645, 151643}},
                                            {"repetition_penalty", 1.1},
                                            {"temperature", 0.7},
                                            {"top_p", 0.8},
                                            {"top_k", 20},
                                            {"transformers_version", "4.37.0"}});
  CHECK(config.family == "qwen2");
  CHECK(config.vocab_size == 151936);
  CHECK(config.hidden_size == 1536);
  CHECK(config.num_layers == 28);
  CHECK(config.num_heads == 12);
  CHECK(config.num_kv_heads == 2);
  CHECK(config.head_dim == 128);
  CHECK(config.intermediate_size == 8960);
  CHECK(config.max_positions == 32768);
  CHECK(config.rms_norm_eps == 1e-6);
  CHECK(config.rope_theta == 1e6);
  CHECK(config.rope_scaling.kind == RopeScaling::Kind::none);
  CHECK(config.tied_head);
  CHECK(config.qkv_bias);
  CHECK_FALSE(config.qk_norm);
  CHECK(config.bos_id == 151643);
  CHECK(config.eos_ids == std::vector<int32_t>{151645, 151643});
  CHECK(config.do_sample == 1);
  CHECK(config.temperature == 0.7);
  CHECK(config.top_k == 20);
  CHECK(config.top_p == 0.8);
  CHECK(config.min_p < 0);
  CHECK(config.repetition_penalty == 1.1);
}

TEST_CASE("R1-Distill and Qwen1.5 are qwen2 by another shape") {
  const ModelConfig r1 = read(qwen2_with({{"bos_token_id", 151646},
                                          {"eos_token_id", 151643},
                                          {"max_position_embeddings", 131072},
                                          {"rope_theta", 10000},
                                          {"tie_word_embeddings", false}}),
                              {{"_from_model_config", true},
                               {"bos_token_id", 151646},
                               {"do_sample", true},
                               {"eos_token_id", 151643},
                               {"temperature", 0.6},
                               {"top_p", 0.95}});
  CHECK(r1.family == "qwen2");
  CHECK_FALSE(r1.tied_head);
  CHECK(r1.rope_theta == 1e4);
  CHECK(r1.max_positions == 131072);
  CHECK(r1.eos_ids == std::vector<int32_t>{151643});
  CHECK(r1.temperature == 0.6);
  CHECK(r1.top_k < 0);

  // Qwen1.5-1.8B: as many kv heads as heads.
  const ModelConfig qwen15 = read(qwen2_with({{"hidden_size", 2048},
                                              {"num_attention_heads", 16},
                                              {"num_key_value_heads", 16},
                                              {"num_hidden_layers", 24},
                                              {"intermediate_size", 5504},
                                              {"tie_word_embeddings", false}}));
  CHECK(qwen15.family == "qwen2");
  CHECK(qwen15.num_kv_heads == 16);
  CHECK(qwen15.head_dim == 128);
  CHECK(qwen15.qkv_bias);
  CHECK(read(qwen2_without("num_key_value_heads")).num_kv_heads == 12);
}

TEST_CASE("the fixtures' configs: Llama, Qwen3 as transformers 5 writes it, Qwen2 with YaRN") {
  const ModelConfig llama = read_hf_config(fixture("tiny-llama"));
  CHECK(llama.family == "llama");
  CHECK(llama.rope_theta == 1e5);
  CHECK(llama.rms_norm_eps == 1e-5);
  CHECK(llama.head_dim == 64);
  CHECK(llama.tied_head);
  CHECK_FALSE(llama.qkv_bias);
  CHECK_FALSE(llama.qk_norm);
  CHECK(llama.eos_ids == std::vector<int32_t>{2, 0});
  CHECK(llama.do_sample == 0);

  const ModelConfig qwen3 = read_hf_config(fixture("tiny-qwen3"));
  CHECK(qwen3.family == "qwen3");
  CHECK(qwen3.rope_theta == 1e6);
  CHECK(qwen3.rope_scaling.kind == RopeScaling::Kind::none);
  CHECK(qwen3.head_dim == 64);
  CHECK(qwen3.num_heads * qwen3.head_dim != qwen3.hidden_size);
  CHECK(qwen3.qk_norm);
  CHECK_FALSE(qwen3.qkv_bias);
  CHECK(qwen3.tied_head);

  const ModelConfig yarn = read_hf_config(fixture("tiny-qwen2-yarn"));
  CHECK(yarn.rope_scaling.kind == RopeScaling::Kind::yarn);
  CHECK(yarn.rope_scaling.factor == 4);
  CHECK(yarn.rope_scaling.original_context == 64);
  CHECK(yarn.max_positions == 256);
  CHECK(yarn.rms_norm_eps == 1e-3);
  CHECK_FALSE(yarn.tied_head);
}

TEST_CASE("what a config leaves out has transformers' default") {
  CHECK(read(qwen2_without("rope_theta")).rope_theta == 1e4);
  CHECK(read(qwen2_without("rms_norm_eps")).rms_norm_eps == 1e-6);
  CHECK_FALSE(read(qwen2_without("tie_word_embeddings")).tied_head);
  CHECK(read(qwen2_without("hidden_act")).head_dim == 128);
  CHECK(read(qwen2_without("architectures")).family == "qwen2");
  CHECK(read(qwen2_without("eos_token_id")).eos_ids.empty());
  CHECK(read(qwen2_without("bos_token_id")).bos_id == -1);
  CHECK(read(qwen2_with({{"bos_token_id", nullptr}})).bos_id == -1);
  json qwen3 =
      qwen2_with({{"model_type", "qwen3"}, {"architectures", json::array({"Qwen3ForCausalLM"})}});
  CHECK(read(qwen3).head_dim == 128);
  qwen3["num_attention_heads"] = 16;  // 1536 / 16 = 96, but Qwen3Config says 128
  CHECK(read(qwen3).head_dim == 128);
}

TEST_CASE("generation_config.json goes before config.json, one end token or several") {
  CHECK(read(qwen2()).eos_ids == std::vector<int32_t>{151645});
  CHECK(read(qwen2_with({{"eos_token_id", {1, 2}}})).eos_ids == std::vector<int32_t>{1, 2});
  CHECK(read(qwen2(), {{"eos_token_id", 7}}).eos_ids == std::vector<int32_t>{7});
  CHECK(read(qwen2(), {{"eos_token_id", {7, 8, 9}}}).eos_ids == std::vector<int32_t>{7, 8, 9});
  CHECK(read(qwen2(), json::object()).eos_ids == std::vector<int32_t>{151645});
  CHECK(read(qwen2(), {{"eos_token_id", nullptr}}).eos_ids == std::vector<int32_t>{151645});
  CHECK(read(qwen2(), {{"bos_token_id", 3}}).bos_id == 3);
  CHECK(read(qwen2(), {{"top_k", -1}}).top_k == 0);
  const auto fails = [](const json& generation, const char* file, const char* reason) {
    check_fails([&] { read(qwen2(), generation); }, ErrorCode::InvalidFile, file, reason);
  };
  fails({{"eos_token_id", 151936}}, "config.json", "eos_token_id is 151936");
  fails({{"eos_token_id", -2}}, "generation_config.json", "eos_token_id is -2");
  fails({{"eos_token_id", {1, "2"}}}, "generation_config.json", "eos_token_id: string");
  fails({{"eos_token_id", uint64_t{1} << 32}}, "generation_config.json", "is 4294967296");
  fails({{"top_p", 1.5}}, "config.json", "top_p is 1.5");
  fails({{"repetition_penalty", 0}}, "config.json", "repetition_penalty is 0");
  fails({{"temperature", "hot"}}, "generation_config.json", "temperature: string");
  fails({{"do_sample", 1}}, "generation_config.json", "do_sample: number");
  fails(json::array(), "generation_config.json", "array where an object is expected");
}

TEST_CASE("RoPE scaling in the spelling of transformers 4 and of 5") {
  for (const char* key : {"type", "rope_type"}) {
    CAPTURE(key);
    const auto scaling = [&](json changes) {
      json rope = {{key, changes["kind"]}, {"factor", 2.5}};
      changes.erase("kind");
      rope.update(changes);
      return read(qwen2_with({{"rope_scaling", rope}})).rope_scaling;
    };
    const RopeScaling linear = scaling({{"kind", "linear"}});
    CHECK(linear.kind == RopeScaling::Kind::linear);
    CHECK(linear.factor == 2.5);
    CHECK(scaling({{"kind", "dynamic"}}).kind == RopeScaling::Kind::dynamic_ntk);
    CHECK(scaling({{"kind", "default"}}).kind == RopeScaling::Kind::none);
    const RopeScaling yarn = scaling({{"kind", "yarn"},
                                      {"original_max_position_embeddings", 8192},
                                      {"attention_factor", 1.25},
                                      {"beta_fast", 24},
                                      {"beta_slow", 2}});
    CHECK(yarn.kind == RopeScaling::Kind::yarn);
    CHECK(yarn.factor == 2.5);
    CHECK(yarn.original_context == 8192);
    CHECK(yarn.attention_factor == 1.25);
    CHECK(yarn.beta_fast == 24);
    CHECK(yarn.beta_slow == 2);
    const RopeScaling plain = scaling({{"kind", "yarn"}});
    CHECK(plain.original_context == 0);
    CHECK(plain.attention_factor == 0);
    CHECK(plain.beta_fast == 32);
    CHECK(plain.beta_slow == 1);
  }
  json five = qwen2_without("rope_theta");
  five["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 4.0}, {"rope_theta", 5e5}};
  CHECK(read(five).rope_theta == 5e5);
  CHECK(read(five).rope_scaling.kind == RopeScaling::Kind::linear);
  CHECK(read(five).rope_scaling.factor == 4);
  CHECK(read(qwen2_with({{"rope_scaling", nullptr}})).rope_theta == 1e6);
  CHECK(read(qwen2_with({{"rope_scaling", json::object()}})).rope_theta == 1e6);
}

TEST_CASE("a sliding window that is not used is ignored, one that is used is not") {
  json config = qwen2_with({{"use_sliding_window", false}, {"sliding_window", 16}});
  config["max_window_layers"] = 1;
  CHECK(read(config).num_layers == 28);
  config["sliding_window"] = nullptr;
  config["layer_types"] = json::array({"full_attention", "full_attention"});
  CHECK(read(config).num_layers == 28);
  config["layer_types"][1] = "sliding_attention";
  check_unsupported(config, "layer_types \"sliding_attention\"; known is full_attention");
  check_unsupported(qwen2_with({{"use_sliding_window", true}}), "use_sliding_window is true");
}

TEST_CASE("what octet does not know in a config is Unsupported: what was found, what is known") {
  for (const char* family : {"gpt_bigcode", "qwen2_moe", "qwen2_vl", "mistral", "QWEN2", ""})
    check_unsupported(qwen2_with({{"model_type", family}}),
                      std::string("\"") + family + "\"; known are qwen2, llama, qwen3");
  check_unsupported(
      qwen2_with({{"architectures", json::array({"Qwen2ForSequenceClassification"})}}),
      "Qwen2ForSequenceClassification\"]; known for qwen2 is [\"Qwen2ForCausalLM\"]");
  for (const char* activation : {"gelu", "gelu_pytorch_tanh", "relu"})
    check_unsupported(qwen2_with({{"hidden_act", activation}}),
                      std::string("\"") + activation + "\"; known is silu");
  for (const char* rope : {"longrope", "llama3", "warp", "su"})
    check_unsupported(qwen2_with({{"rope_scaling", {{"type", rope}, {"factor", 2}}}}),
                      std::string("\"") + rope + "\"; known are default, linear, dynamic, yarn");
  for (const char* key : {"attention_bias", "mlp_bias", "use_mrope"})
    check_unsupported(qwen2_with({{key, true}}), std::string(key) + " is true; known is false");
  check_unsupported(qwen2_with({{"partial_rotary_factor", 0.5}}), "partial_rotary_factor");
  const json yarn = {{"type", "yarn"}, {"factor", 2}};
  for (const char* key : {"mscale", "mscale_all_dim"}) {
    json rope = yarn;
    rope[key] = 1;
    check_unsupported(qwen2_with({{"rope_scaling", rope}}), key);
  }
  json truncate = yarn;
  truncate["truncate"] = false;
  check_unsupported(qwen2_with({{"rope_scaling", truncate}}), "truncate");
  check_unsupported(
      qwen2_with({{"rope_scaling", {{"full_attention", {{"rope_type", "default"}}}}}}),
      "one RoPE a layer type");
  check_unsupported(qwen2_with({{"hidden_size", 12 * 5}}), "head_dim is 5");
  check_unsupported(qwen2_with({{"num_hidden_layers", 1025}}), "at most 1024");
}

TEST_CASE("a config that contradicts itself is refused, naming the key") {
  for (const char* key : {"model_type", "vocab_size", "hidden_size", "num_hidden_layers",
                          "num_attention_heads", "intermediate_size", "max_position_embeddings"})
    check_invalid(qwen2_without(key), std::string(key) + " is missing");
  check_invalid(qwen2_with({{"hidden_size", 1537}}), "hidden_size 1537");
  check_invalid(qwen2_with({{"num_key_value_heads", 5}}), "12 heads cannot share 5 kv heads");
  check_invalid(qwen2_with({{"num_attention_heads", 0}}), "among 0 heads");
  check_invalid(qwen2_with({{"rms_norm_eps", 0}}), "rms_norm_eps is 0");
  check_invalid(qwen2_with({{"rope_theta", -1e4}}), "rope_theta is -10000");
  check_invalid(qwen2_with({{"rope_scaling", {{"type", "yarn"}}}}), "factor is missing");
  check_invalid(qwen2_with({{"rope_scaling", {{"type", "linear"}, {"factor", 0.5}}}}),
                "factor is 0.5");
  check_invalid(qwen2_with({{"rope_scaling", {{"type", 5}, {"factor", 2}}}}), "type: number");
  check_invalid(qwen2_with({{"bos_token_id", -5}}), "bos_token_id is -5");
  check_invalid(qwen2_with({{"bos_token_id", 151936}}), "bos_token_id is 151936");
  check_invalid(qwen2_with({{"tie_word_embeddings", "yes"}}), "tie_word_embeddings: string");
  check_invalid(json::array(), "array where an object is expected");
}

TEST_CASE("tied and untied heads ask for their tensors") {
  Directory tied(json{{"tie_word_embeddings", true}});
  tied.write("model.safetensors", 0, tied.tensors().size());
  CHECK(tied.open()->find("lm_head.weight") == nullptr);

  Directory untied(json{{"tie_word_embeddings", false}});
  REQUIRE(untied.tensors().back().name == "lm_head.weight");
  untied.write("model.safetensors", 0, untied.tensors().size());
  CHECK(untied.open()->find("lm_head.weight") != nullptr);
  untied.write("model.safetensors", 0, untied.tensors().size() - 1);
  untied.check_refused(untied.folder().path(), "lm_head.weight is missing");
}

TEST_CASE("a directory, a file in it, and the same model in shards read alike") {
  const std::string folder = fixture("tiny-qwen2-tied");
  const auto checkpoint = open_checkpoint(folder);
  CHECK(checkpoint->format() == "safetensors");
  CHECK(checkpoint->config().tied_head);
  // What the shards hold, read one by one.
  size_t tensors = 0;
  for (int shard = 1; shard <= 3; ++shard) {
    const MappedFile file(folder + "/model-0000" + std::to_string(shard) + "-of-00003.safetensors");
    for (const SafetensorsEntry& entry : parse_safetensors(file.bytes(), file.path()).tensors) {
      CAPTURE(entry.name);
      const CheckpointTensor* found = checkpoint->find(entry.name);
      REQUIRE(found != nullptr);
      CHECK(found->type == entry.dtype);
      CHECK(std::vector<uint64_t>(found->shape.begin(), found->shape.end()) == entry.shape);
      REQUIRE(entry.dtype == "BF16");
      std::vector<float> values(entry.data.size() / 2), expected(values.size());
      checkpoint->read_rows(entry.name, 0, entry.shape.size() == 1 ? 1 : found->shape[0],
                            values.data());
      for (size_t i = 0; i < expected.size(); ++i)
        std::memcpy(reinterpret_cast<char*>(&expected[i]) + 2, &entry.data[2 * i], 2);
      CHECK(values == expected);
      ++tensors;
    }
  }
  CHECK(tensors == checkpoint->tensors().size());

  const auto whole = open_checkpoint(fixture("tiny-qwen3"));
  const auto file = open_checkpoint(fixture("tiny-qwen3/model.safetensors"));
  CHECK(whole->tensors().size() == file->tensors().size());
  CHECK(file->config().family == "qwen3");
}

TEST_CASE("an index puts shards together, taking from each what it names") {
  TwoShards shards;
  shards.write_index(shards.weight_map);
  CHECK(shards.open()->tensors().size() == shards.tensors().size());
  // b has everything; only what the index says comes from it.
  shards.write("b.safetensors", 0, shards.tensors().size());
  CHECK(shards.open()->tensors().size() == shards.tensors().size());
  // A single file wins over an index, as in transformers.
  shards.write("model.safetensors", 0, shards.tensors().size() - 1);
  shards.check_refused(shards.folder().path(), "model.norm.weight is missing");
}

TEST_CASE("shards that are missing, or lack what the index expects, are named") {
  TwoShards shards;
  shards.write_index(shards.weight_map);
  std::filesystem::remove(shards.folder().file("b.safetensors"));
  shards.check_refused("b.safetensors", "", ErrorCode::Io);
  shards.write("b.safetensors", 0, 1);
  shards.check_refused("b.safetensors", "is missing, the index expects it here");
  std::filesystem::create_directory(shards.folder().file("c.safetensors"));
  shards.weight_map["extra"] = "c.safetensors";
  shards.write_index(shards.weight_map);
  std::filesystem::remove(shards.folder().file("b.safetensors"));
  shards.check_refused("safetensors", "", ErrorCode::Io);

  TwoShards lacking;
  lacking.weight_map.erase("model.norm.weight");
  lacking.write_index(lacking.weight_map);
  lacking.check_refused(lacking.folder().path(), "model.norm.weight is missing");

  const Directory empty;
  empty.check_refused(empty.folder().path(), "neither model.safetensors nor");
  std::filesystem::remove(empty.folder().file("config.json"));
  empty.write("model.safetensors", 0, 1);
  empty.check_refused("config.json", "", ErrorCode::Io);
}

TEST_CASE("an index may not name anything outside its directory") {
  for (const char* name : {"../a.safetensors", "/etc/passwd", "sub/a.safetensors", "..", ".", "",
                           "..\\a.safetensors"}) {
    TwoShards shards;
    shards.weight_map["model.norm.weight"] = name;
    shards.write_index(shards.weight_map);
    shards.check_refused("model.safetensors.index.json", "is not the name of a file");
  }
  TwoShards shards;
  shards.weight_map["model.norm.weight"] = std::string("b.safetensors\0x", 15);
  shards.write_index(shards.weight_map);
  shards.check_refused("model.safetensors.index.json", "is not the name of a file");
  shards.write_index(json::array());
  shards.check_refused("model.safetensors.index.json", "weight_map: array");
  shards.folder().write("model.safetensors.index.json", "{}");
  shards.check_refused("model.safetensors.index.json", "weight_map is missing");
}

TEST_CASE("one tensor twice, in a file or in an index, is refused") {
  Directory directory;
  const size_t count = directory.tensors().size();
  std::string file = zeros(directory.tensors());
  // Rename one tensor in the header to another of the same length.
  const std::string from = "self_attn.k_proj.bias", to = "self_attn.v_proj.bias";
  file.replace(file.find(from), from.size(), to);
  directory.folder().write("model.safetensors", file);
  directory.check_refused("model.safetensors", "self_attn.v_proj.bias occurs twice");
  directory.write("model.safetensors", 0, count);
  CHECK(directory.open()->tensors().size() == count);

  TwoShards shards;
  shards.folder().write("model.safetensors.index.json",
                        R"({"weight_map": {"a": "a.safetensors", "a": "b.safetensors"}})");
  shards.check_refused("model.safetensors.index.json", "\"a\" occurs twice");
}

TEST_CASE("weights of a wrong shape or of integers are refused, spare tensors are not") {
  Directory directory;
  directory.tensors().push_back({"rotary_emb.inv_freq", {4}});
  directory.write("model.safetensors", 0, directory.tensors().size());
  CHECK(directory.open()->find("rotary_emb.inv_freq") != nullptr);
  directory.tensors()[1].shape = {9};
  directory.write("model.safetensors", 0, directory.tensors().size());
  directory.check_refused(directory.folder().path(), "shape [9], the config asks for [8]");
  directory.tensors()[1].shape = {8};
  std::string file = zeros(directory.tensors());
  file.replace(file.find("F32"), 3, "I32");
  directory.folder().write("model.safetensors", file);
  directory.check_refused(directory.folder().path(), "type I32", ErrorCode::Unsupported);
}

TEST_CASE("text files of a directory: tokenizer, special tokens, chat template") {
  const TemporaryFolder folder;
  const auto read_text = [&] { return read_huggingface_text(folder.path()); };
  CHECK_FALSE(read_text().tokenizer.has_value());
  CHECK(read_text().chat_template.empty());
  folder.write("tokenizer.json", "{}");
  const auto config = [&](const json& value) {
    folder.write("tokenizer_config.json", value.dump());
    return read_text();
  };
  const CheckpointText plain =
      config({{"bos_token", nullptr}, {"eos_token", "</s>"}, {"chat_template", "{{ a }}"}});
  CHECK(plain.tokenizer->kind == TokenizerSource::Kind::json);
  CHECK(plain.tokenizer->json == "{}");
  CHECK(plain.bos_token == "");
  CHECK(plain.eos_token == "</s>");
  CHECK(plain.chat_template == "{{ a }}");
  const CheckpointText old = config(
      {{"bos_token", {{"content", "<s>"}, {"lstrip", false}}},
       {"chat_template",
        {{{"name", "tool_use"}, {"template", "t"}}, {{"name", "default"}, {"template", "d"}}}}});
  CHECK(old.bos_token == "<s>");
  CHECK(old.chat_template == "d");
  folder.write("chat_template.jinja", "from the file");
  CHECK(read_text().chat_template == "from the file");
  for (const json& wrong : {json{{"bos_token", 5}}, json{{"chat_template", 5}},
                            json{{"chat_template", json::array({5})}}, json::array()})
    check_fails([&] { config(wrong); }, ErrorCode::InvalidFile, "tokenizer_config.json", "");
}

TEST_CASE("what is no checkpoint at all is said to be none") {
  const TemporaryFolder folder;
  check_fails([&] { open_checkpoint(folder.file("absent")); }, ErrorCode::Io, "absent", "");
  check_fails([&] { open_checkpoint(folder.write("text", "hello")); }, ErrorCode::Unsupported,
              "text", "known are Hugging Face directories, .safetensors and .gguf");
  check_fails([&] { open_checkpoint(folder.path()); }, ErrorCode::InvalidFile, folder.path(),
              "neither");
  // An octet file is no source.
  const std::string header = R"({"__metadata__":{"octet.format":"1"}})";
  const uint64_t length = header.size();
  folder.write("model.safetensors",
               std::string(reinterpret_cast<const char*>(&length), 8) + header);
  check_fails([&] { open_checkpoint(folder.file("model.safetensors")); },
              ErrorCode::InvalidArgument, "model.safetensors", "an octet file");
}

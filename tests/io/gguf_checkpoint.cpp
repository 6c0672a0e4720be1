// GGUF files as checkpoints: names, order of rows, config, text.
#include "lib/io/gguf_checkpoint.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "lib/core/error.h"
#include "support/fixtures.h"
#include "support/gguf_builder.h"
#include "support/temporary_folder.h"

using namespace octet;
using testing::GgufBuilder;
using testing::raw;

namespace {

/// All rows; read in two calls, the second from the middle of a head.
std::vector<float> read_all(const Checkpoint& checkpoint, const CheckpointTensor& tensor) {
  const int64_t cols = tensor.shape.back();
  const int64_t rows = tensor.shape.size() == 1 ? 1 : tensor.shape[0];
  const int64_t middle = rows / 3;
  std::vector<float> values(static_cast<size_t>(rows * cols));
  checkpoint.read_rows(tensor.name, 0, middle, values.data());
  checkpoint.read_rows(tensor.name, middle, rows, values.data() + middle * cols);
  return values;
}

double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    size += std::pow(b[i], 2);
  }
  return std::sqrt(difference / size);
}

/// The smallest qwen2 that can be described: one layer, everything tied.
GgufBuilder tiny(const std::string& family = "qwen2") {
  GgufBuilder builder;
  builder.text("general.architecture", family);
  builder.u32(family + ".embedding_length", 8).u32(family + ".block_count", 1);
  builder.u32(family + ".feed_forward_length", 12).u32(family + ".context_length", 64);
  builder.u32(family + ".attention.head_count", 2).u32(family + ".attention.head_count_kv", 1);
  builder.f32(family + ".attention.layer_norm_rms_epsilon", 1e-5f);
  return builder;
}

GgufBuilder& add_tensors(GgufBuilder& builder, uint64_t head_dim = 4, bool qk_norm = false,
                         bool bias = true) {
  const auto add = [&](const std::string& name, uint64_t cols, uint64_t rows = 0) {
    const uint64_t count = cols * std::max<uint64_t>(rows, 1);
    builder.tensor(name, rows == 0 ? std::vector{cols} : std::vector{cols, rows}, 0,
                   std::string(count * 4, '\0'));
  };
  const uint64_t q = 2 * head_dim, kv = head_dim;
  add("token_embd.weight", 8, 10), add("output_norm.weight", 8);
  add("blk.0.attn_norm.weight", 8), add("blk.0.ffn_norm.weight", 8);
  add("blk.0.attn_q.weight", 8, q), add("blk.0.attn_k.weight", 8, kv);
  add("blk.0.attn_v.weight", 8, kv), add("blk.0.attn_output.weight", q, 8);
  add("blk.0.ffn_gate.weight", 8, 12), add("blk.0.ffn_up.weight", 8, 12);
  add("blk.0.ffn_down.weight", 12, 8);
  if (bias) add("blk.0.attn_q.bias", q), add("blk.0.attn_k.bias", kv), add("blk.0.attn_v.bias", kv);
  if (qk_norm) add("blk.0.attn_q_norm.weight", head_dim), add("blk.0.attn_k_norm.weight", head_dim);
  return builder;
}

std::unique_ptr<Checkpoint> open(const GgufBuilder& builder) {
  const test::TemporaryFolder folder;
  return open_checkpoint(folder.write("m.gguf", builder.bytes()));
}

ModelConfig config_of(GgufBuilder builder) {
  return open(add_tensors(builder))->config();
}

/// That opening fails, and says this code, the file and the reason.
void check_refused(const GgufBuilder& builder, ErrorCode code, const std::string& reason) {
  try {
    open(builder);
    FAIL_CHECK("opened in spite of: ", reason);
  } catch (const Error& error) {
    CAPTURE(std::string(error.what()));
    CHECK(error.code() == code);
    CHECK(std::string(error.what()).find("m.gguf: ") != std::string::npos);
    CHECK(std::string(error.what()).find(reason) != std::string::npos);
  }
}

}  // namespace

TEST_CASE("a GGUF file's tensors are those of the Hugging Face model it was made from") {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(testing::fixture("gguf"))) {
    if (entry.path().extension() != ".gguf") continue;
    CAPTURE(entry.path().string());
    const bool llama = entry.path().filename().string().starts_with("tiny-llama");
    const auto source = open_checkpoint(testing::fixture(llama ? "tiny-llama" : "tiny-qwen2"));
    const auto checkpoint = open_checkpoint(entry.path().string());
    CHECK(checkpoint->format() == "gguf 3");
    CHECK_FALSE(checkpoint->text().tokenizer.has_value());

    ModelConfig expected = source->config();
    const ModelConfig& config = checkpoint->config();
    expected.num_layers = llama ? 1 : 2;
    CHECK(config.family == expected.family);
    CHECK(config.vocab_size == expected.vocab_size);
    CHECK(config.num_heads == expected.num_heads);
    CHECK(config.num_kv_heads == expected.num_kv_heads);
    CHECK(config.head_dim == expected.head_dim);
    CHECK(config.max_positions == expected.max_positions);
    CHECK(config.rms_norm_eps == doctest::Approx(expected.rms_norm_eps).epsilon(1e-6));
    CHECK(config.rope_theta == expected.rope_theta);
    CHECK(config.tied_head == llama);
    CHECK(config.qkv_bias == !llama);
    CHECK_FALSE(config.qk_norm);

    // Quantized to 4 bits a value is within 9 % of its own; rows in another order are off by 140 %.
    const std::vector<ModelTensor> wanted = model_tensors(expected);
    CHECK(checkpoint->tensors().size() == wanted.size());
    for (const ModelTensor& tensor : wanted) {
      CAPTURE(tensor.name);
      const CheckpointTensor* found = checkpoint->find(tensor.name);
      REQUIRE(found != nullptr);
      CHECK(found->shape == tensor.shape);
      const double bar = found->type.starts_with("Q4") ? 0.09
                         : found->type[0] == 'Q'       ? 0.05
                         : found->type == "F32"        ? 0
                                                       : 1e-3;
      CHECK(relative_distance(read_all(*checkpoint, *found),
                              read_all(*source, *source->find(tensor.name))) <= bar);
    }
    ++files;
  }
  CHECK(files == 9);
}

TEST_CASE("a llama's q and k rows change places as they are read") {
  // Head 0 of q, stored: 0 2 1 3 in terms of the Hugging Face rows; then head 1, then k's only one.
  GgufBuilder builder = tiny("llama");
  builder.u32("llama.rope.dimension_count", 4);
  std::string q, k;
  for (int row : {0, 2, 1, 3, 4, 6, 5, 7})
    for (int col = 0; col < 8; ++col) q += raw(static_cast<float>(10 * row + col));
  for (int row : {0, 2, 1, 3})
    for (int col = 0; col < 8; ++col) k += raw(static_cast<float>(10 * row + col));
  const std::string small(8 * 4, '\0'), wide(8 * 12 * 4, '\0'), square(8 * 8 * 4, '\0');
  builder.tensor("token_embd.weight", {8, 12}, 0, wide).tensor("output_norm.weight", {8}, 0, small);
  builder.tensor("blk.0.attn_norm.weight", {8}, 0, small);
  builder.tensor("blk.0.ffn_norm.weight", {8}, 0, small);
  builder.tensor("blk.0.attn_q.weight", {8, 8}, 0, q).tensor("blk.0.attn_k.weight", {8, 4}, 0, k);
  builder.tensor("blk.0.attn_v.weight", {8, 4}, 0, k);
  builder.tensor("blk.0.attn_output.weight", {8, 8}, 0, square);
  builder.tensor("blk.0.ffn_gate.weight", {8, 12}, 0, wide);
  builder.tensor("blk.0.ffn_up.weight", {8, 12}, 0, wide);
  builder.tensor("blk.0.ffn_down.weight", {12, 8}, 0, wide);
  const auto checkpoint = open(builder);
  const auto rows = [&](const char* name) {
    const std::string full = std::string("model.layers.0.self_attn.") + name + "_proj.weight";
    std::vector<int> first;
    const std::vector<float> values = read_all(*checkpoint, *checkpoint->find(full));
    for (size_t i = 0; i < values.size(); ++i) {
      if (i % 8 == 0) first.push_back(static_cast<int>(values[i]) / 10);
      CHECK(static_cast<int>(values[i]) % 10 == static_cast<int>(i % 8));
    }
    return first;
  };
  CHECK(rows("q") == std::vector{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(rows("k") == std::vector{0, 1, 2, 3});
  CHECK(rows("v") == std::vector{0, 2, 1, 3});
}

TEST_CASE("rows are read one by one or together, never beyond the tensor") {
  GgufBuilder builder = tiny();
  const auto checkpoint = open(add_tensors(builder));
  const char* name = "model.layers.0.mlp.up_proj.weight";
  float row[8 * 12];
  CHECK_NOTHROW(checkpoint->read_rows(name, 11, 12, row));
  CHECK_NOTHROW(checkpoint->read_rows(name, 12, 12, row));
  CHECK_THROWS_AS(checkpoint->read_rows(name, 11, 13, row), Error);
  CHECK_THROWS_AS(checkpoint->read_rows(name, -1, 1, row), Error);
  CHECK_THROWS_AS(checkpoint->read_rows(name, 2, 1, row), Error);
  CHECK_THROWS_AS(checkpoint->read_rows("nothing", 0, 1, row), Error);
}

TEST_CASE("keys of the architecture become the config") {
  const ModelConfig plain = config_of(tiny());
  CHECK(plain.family == "qwen2");
  CHECK(plain.hidden_size == 8);
  CHECK(plain.num_layers == 1);
  CHECK(plain.intermediate_size == 12);
  CHECK(plain.max_positions == 64);
  CHECK(plain.vocab_size == 10);
  CHECK(plain.head_dim == 4);
  CHECK(plain.rope_theta == 1e4);
  CHECK(plain.rope_scaling.kind == RopeScaling::Kind::none);
  CHECK(plain.rms_norm_eps == doctest::Approx(1e-5));
  CHECK(plain.eos_ids.empty());
  CHECK(plain.bos_id == -1);

  const ModelConfig linear = config_of(
      tiny().text("qwen2.rope.scaling.type", "linear").f32("qwen2.rope.scaling.factor", 4));
  CHECK(linear.rope_scaling.kind == RopeScaling::Kind::linear);
  CHECK(linear.rope_scaling.factor == 4);
  const ModelConfig old = config_of(tiny().f32("qwen2.rope.scale_linear", 2));
  CHECK(old.rope_scaling.kind == RopeScaling::Kind::linear);
  CHECK(old.rope_scaling.factor == 2);
  const ModelConfig yarn = config_of(tiny()
                                         .f32("qwen2.rope.freq_base", 1e6f)
                                         .text("qwen2.rope.scaling.type", "yarn")
                                         .f32("qwen2.rope.scaling.factor", 4)
                                         .u32("qwen2.rope.scaling.original_context_length", 32)
                                         .f32("qwen2.rope.scaling.yarn_beta_fast", 24));
  CHECK(yarn.rope_theta == 1e6);
  CHECK(yarn.rope_scaling.kind == RopeScaling::Kind::yarn);
  CHECK(yarn.rope_scaling.original_context == 32);
  CHECK(yarn.rope_scaling.beta_fast == 24);
  CHECK(yarn.rope_scaling.beta_slow == 1);
}

TEST_CASE("a qwen3 has heads of their own size and norms on them") {
  GgufBuilder builder = tiny("qwen3");
  builder.u32("qwen3.attention.key_length", 6).u32("qwen3.attention.value_length", 6);
  const auto checkpoint = open(add_tensors(builder, 6, true, false));
  CHECK(checkpoint->config().head_dim == 6);
  CHECK(checkpoint->config().qk_norm);
  CHECK_FALSE(checkpoint->config().qkv_bias);
  CHECK(checkpoint->find("model.layers.0.self_attn.q_norm.weight") != nullptr);
  GgufBuilder without = tiny("qwen3");
  check_refused(add_tensors(without, 4, false, false), ErrorCode::InvalidFile,
                "q_norm.weight is missing");
  GgufBuilder biased = tiny("qwen3");
  check_refused(add_tensors(biased, 4, true, true), ErrorCode::Unsupported, "attn_q.bias");
}

TEST_CASE("vocabulary, end tokens and chat template come along") {
  std::vector<std::string> tokens = {"a", "b", "c", "d", "e", "f", "g", "h", "<s>", "</s>"};
  GgufBuilder builder = tiny();
  builder.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "qwen2");
  builder.texts("tokenizer.ggml.tokens", tokens).texts("tokenizer.ggml.merges", {"a b"});
  std::string types;
  for (int i = 0; i < 10; ++i) types += raw<int32_t>(i < 8 ? 1 : 3);
  builder.array("tokenizer.ggml.token_type", 5, 10, types);
  builder.u32("tokenizer.ggml.bos_token_id", 8).u32("tokenizer.ggml.eos_token_id", 9);
  builder.u32("tokenizer.ggml.eot_token_id", 7).u32("tokenizer.ggml.eom_token_id", UINT32_MAX);
  builder.key("tokenizer.ggml.add_bos_token", 7, raw<uint8_t>(1));
  builder.text("tokenizer.chat_template", "{{ x }}");
  const auto checkpoint = open(add_tensors(builder));
  CHECK(checkpoint->config().bos_id == 8);
  CHECK(checkpoint->config().eos_ids == std::vector<int32_t>{9, 7});
  CHECK(checkpoint->text().chat_template == "{{ x }}");
  CHECK(checkpoint->text().bos_token == "<s>");
  CHECK(checkpoint->text().eos_token == "</s>");
  REQUIRE(checkpoint->text().tokenizer.has_value());
  const GgufVocabulary& vocabulary = checkpoint->text().tokenizer->gguf;
  CHECK(vocabulary.tokens == tokens);
  CHECK(vocabulary.merges == std::vector<std::string>{"a b"});
  CHECK(vocabulary.types.size() == 10);
  CHECK(vocabulary.add_bos);

  GgufBuilder outside = tiny();
  outside.u32("tokenizer.ggml.eos_token_id", 10);
  check_refused(add_tensors(outside), ErrorCode::InvalidFile,
                "eos_token_id is 10, the vocabulary has 10");
}

TEST_CASE("what octet does not know in a GGUF file is Unsupported and named") {
  const auto unsupported = [](GgufBuilder builder, const std::string& reason) {
    check_refused(add_tensors(builder), ErrorCode::Unsupported, reason);
  };
  unsupported(tiny("falcon"), "general.architecture \"falcon\"; known are qwen2, llama, qwen3");
  unsupported(tiny().u32("qwen2.expert_count", 8), "qwen2.expert_count is not 0");
  unsupported(tiny().u32("qwen2.attention.sliding_window", 512), "sliding_window is not 0");
  unsupported(tiny().text("qwen2.rope.scaling.type", "longrope"),
              "\"longrope\"; known are none, linear, yarn");
  unsupported(tiny()
                  .text("qwen2.rope.scaling.type", "yarn")
                  .f32("qwen2.rope.scaling.factor", 2)
                  .f32("qwen2.rope.scaling.attn_factor", 1.5f),
              "attn_factor is not 1");
  unsupported(tiny().u32("qwen2.rope.dimension_count", 2), "rope.dimension_count is 2");
  unsupported(tiny().tensor("rope_freqs.weight", {2}, 0, std::string(8, '\0')),
              "rope_freqs.weight");
  unsupported(tiny().tensor("blk.0.ffn_gate_inp.weight", {8}, 0, std::string(32, '\0')),
              "blk.0.ffn_gate_inp.weight; known in a layer are");
  unsupported(tiny().u32("qwen2.attention.key_length", 3), "head_dim is 3");
  unsupported(tiny("llama"), "blk.0.attn_q.bias in a llama model");
}

TEST_CASE("a GGUF file that contradicts itself is refused") {
  const auto invalid = [](GgufBuilder builder, const std::string& reason) {
    check_refused(add_tensors(builder), ErrorCode::InvalidFile, reason);
  };
  invalid(GgufBuilder(), "general.architecture is missing");
  invalid(GgufBuilder().text("general.architecture", "qwen2"), "embedding_length is missing");
  invalid(tiny().u32("qwen2.vocab_size", 11), "vocab_size is 11, token_embd.weight has 10 rows");
  invalid(tiny().f32("qwen2.rope.freq_base", NAN), "rope_theta is nan");
  invalid(tiny().text("qwen2.rope.freq_base", "1e4"), "qwen2.rope.freq_base: an integer");
  check_refused(tiny(), ErrorCode::InvalidFile, "token_embd.weight is missing");
  GgufBuilder wider = tiny();
  wider.u32("qwen2.attention.key_length", 8);
  check_refused(add_tensors(wider), ErrorCode::InvalidFile,
                "q_proj.weight: shape [8, 8], the config asks for [16, 8]");
  GgufBuilder head = tiny();
  head.tensor("output.weight", {8, 9}, 0, std::string(8 * 9 * 4, '\0'));
  check_refused(add_tensors(head), ErrorCode::InvalidFile, "lm_head.weight: shape [9, 8]");
  GgufBuilder ranks = tiny();
  add_tensors(ranks).tensor("model.norm.weight", {8}, 0, std::string(32, '\0'));
  check_refused(ranks, ErrorCode::InvalidFile, "model.norm.weight occurs twice");
}

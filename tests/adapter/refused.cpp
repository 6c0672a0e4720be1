// Adapters that are damaged, do not fit, or are something else than plain LoRA.
#include <octet/adapter.h>
#include <octet/quant.h>

#include <doctest/doctest.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "lib/io/peft_config.h"
#include "support/fixtures.h"
#include "support/tensors.h"
#include "support/w8a8_fixture.h"

using namespace octet;
using namespace octet::testing;
using nlohmann::json;

namespace {

/// The fixture's adapter "all", to be changed and written elsewhere.
struct Files {
  Files()
      : config(json::parse(std::ifstream(folder + "/adapter_config.json"))),
        tensors(read_tensors(folder + "/adapter_model.safetensors")) {}
  void write(const TempDir& out) const {
    std::ofstream(out.path("adapter_config.json")) << config.dump();
    write_tensors(out.path("adapter_model.safetensors"), tensors);
  }

  std::string folder = fixture("lora/tiny-qwen2-tied/all");
  json config;
  Tensors tensors;
};

const std::string q = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight";

}  // namespace

TEST_CASE("adapters that are damaged or something else are errors that say why") {
  const Model model = open_model(fixture("tiny-qwen2-tied"), Scheme::f32);
  const auto set = [](const char* key, json value) {
    return [=](Files& files) { files.config[key] = value; };
  };
  struct Bad {
    const char* what;
    ErrorCode code;
    std::function<void(Files&)> change;
  };
  constexpr auto unsupported = ErrorCode::Unsupported, invalid = ErrorCode::InvalidFile;
  const Bad bads[] = {
      {"peft_type \"IA3\"", unsupported, set("peft_type", "IA3")},
      {"bias \"all\"", unsupported, set("bias", "all")},
      {"use_dora is true", unsupported, set("use_dora", true)},
      {"fan_in_fan_out is true", unsupported, set("fan_in_fan_out", true)},
      {"modules_to_save", unsupported, set("modules_to_save", {"lm_head"})},
      {"layers_to_transform", unsupported, set("layers_to_transform", {0})},
      {"r is 0", invalid, set("r", 0)},
      {"lora_alpha is -1", invalid, set("lora_alpha", -1)},
      {"r is missing", invalid, [](Files& files) { files.config.erase("r"); }},
      {"target_modules", invalid, set("target_modules", 3)},
      {"pattern", invalid, set("target_modules", "(")},
      {"takes too long", invalid, set("target_modules", "(.*)*(.*)*(.*)*(.*)*jq")},
      {"disagree on model.layers.0.self_attn.k_proj", invalid,
       set("target_modules", json::array({"q_proj"}))},
      {"disagree on model.layers.0.self_attn.q_proj", invalid,
       [](Files& files) {
         files.tensors.erase("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
         files.tensors.erase("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight");
       }},
      {"one of lora_A and lora_B is missing", invalid,
       [](Files& files) { files.tensors.erase(q); }},
      {"shape [8, 192], expected [9, 192]", invalid, set("r", 9)},
      {"shape [192, 8], expected [8, 192]", invalid,
       [](Files& files) {
         files.tensors.at(q).shape = {192, 8};
       }},
      {"type I32", unsupported, [](Files& files) { files.tensors.at(q).dtype = "I32"; }},
      {"not finite", invalid,
       [](Files& files) { std::memset(files.tensors.at(q).data.data() + 64, 0xff, 4); }},
      {"no linear of this name", invalid,
       [](Files& files) {
         auto node = files.tensors.extract(q);
         node.key() = "base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight";
         files.tensors.insert(std::move(node));
       }},
      {"lora_magnitude_vector", unsupported,
       [](Files& files) {
         files.tensors["base_model.model.model.layers.1.self_attn.q_proj.lora_magnitude_vector"] = {
             "F32", {1}, std::vector<std::byte>(4)};
       }},
      {"no tensors", invalid, [](Files& files) { files.tensors.clear(); }},
      {"two patterns say", unsupported, set("rank_pattern", {{"q_proj", 8}, {".*q_proj", 4}})},
  };
  for (const Bad& bad : bads) {
    CAPTURE(bad.what);
    Files files;
    bad.change(files);
    const TempDir out;
    files.write(out);
    try {
      Adapter::load(model, out.path());
      FAIL_CHECK("loaded");
    } catch (const Error& error) {
      CAPTURE(std::string(error.what()));
      CHECK(std::string(to_string(error.code())) == to_string(bad.code));
      CHECK(std::string(error.what()).find(bad.what) != std::string::npos);
      CHECK(std::string(error.what()).find(out.path()) != std::string::npos);
    }
  }
}

TEST_CASE("adapters for another shape, of no folder, of no number") {
  const Model model = open_model(fixture("tiny-qwen2"), Scheme::f32);
  CHECK_THROWS_AS(Adapter::load(model, fixture("lora/tiny-qwen2-tied/all")), Error);
  CHECK_THROWS_WITH_AS(Adapter::load(model, fixture("tiny-qwen2")),
                       doctest::Contains("adapter_model.safetensors"), Error);
  CHECK_THROWS_AS(Adapter::load(model, fixture("lora/tiny-qwen2/all"), INFINITY), Error);
}

TEST_CASE("which linears a config names, and how strongly") {
  const TempDir folder;
  const auto config = [&](json changes) {
    json all = {{"peft_type", "LORA"},
                {"r", 4},
                {"lora_alpha", 8},
                {"target_modules", json::array({"q_proj"})}};
    all.update(changes);
    std::ofstream(folder.path("adapter_config.json")) << all.dump();
    return PeftConfig(folder.path());
  };
  const std::string q0 = "model.layers.0.self_attn.q_proj",
                    q10 = "model.layers.10.self_attn.q_proj";
  CHECK(config(json::object()).targets(q0));
  CHECK_FALSE(
      config({{"target_modules", json::array({"_proj"})}}).targets(q0));  // whole names after a dot
  CHECK(config({{"target_modules", "all-linear"}}).targets(q0));
  CHECK_FALSE(config({{"target_modules", "all-linear"}}).targets("lm_head"));
  CHECK_FALSE(config({{"target_modules", ".*layers\\.0"}}).targets(q0));  // the whole name
  CHECK(config({{"target_modules", ".*layers\\.0\\..*"}}).targets(q0));
  CHECK_FALSE(config({{"target_modules", ".*layers\\.0\\..*"}}).targets(q10));
  CHECK(config(json::object()).scale(q0) == 2);
  CHECK(config({{"use_rslora", true}}).scale(q0) == 4);
  const PeftConfig patterns = config(
      {{"rank_pattern", {{"layers.0.self_attn.q_proj", 16}}}, {"alpha_pattern", {{"q_proj", 4}}}});
  CHECK(patterns.rank(q0) == 16);
  CHECK(patterns.rank(q10) == 4);
  CHECK(patterns.scale(q0) == 0.25);
  CHECK(patterns.scale(q10) == 1);
}

TEST_CASE("an adapter cannot be merged into int8 weights, but runs beside them") {
  const TempDir folder;
  ConvertOptions options;
  options.adapters = {{fixture("lora/tiny-qwen2/all")}};
  CHECK_THROWS_WITH_AS(convert(w8a8_fixture(), folder.path("m.safetensors"), options),
                       doctest::Contains("at run time"), Error);
  const Model model = open_model(w8a8_fixture(), Scheme::w8a8);
  CHECK(Adapter::load(model, fixture("lora/tiny-qwen2/all")).bytes() > 100'000);
}

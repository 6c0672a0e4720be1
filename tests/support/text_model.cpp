#include "support/text_model.h"

#include <fstream>
#include <nlohmann/json.hpp>

namespace octet::testing {
namespace {

using Json = nlohmann::ordered_json;

std::string utf8(int code_point) {
  if (code_point < 0x80) return {static_cast<char>(code_point)};
  return {static_cast<char>(0xc0 | (code_point >> 6)), static_cast<char>(0x80 | (code_point & 63))};
}

/// GPT-2's map of bytes to printable characters, in ascending order of the byte's own place.
Json byte_vocabulary() {
  Json vocabulary = Json::object();
  int next = 0x100, id = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const bool itself =
        (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    vocabulary[utf8(itself ? byte : next++)] = id++;
  }
  return vocabulary;
}

Json added_token(int id, const char* content, bool special = true) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

void write(const std::string& path, const Json& json) {
  std::ofstream(path) << json.dump();
}

}  // namespace

void make_text_model(const std::string& model, const std::string& folder, bool thinking) {
  std::filesystem::create_directories(folder);
  std::filesystem::copy(fixture(model + "/model.safetensors"), folder + "/model.safetensors");
  Json config = Json::parse(std::ifstream(fixture(model + "/config.json")));
  write(folder + "/config.json", config);
  write(folder + "/generation_config.json", {{"eos_token_id", 257}});
  Json added = {added_token(256, "<|im_start|>"), added_token(257, "<|im_end|>")};
  if (thinking) {
    added.push_back(added_token(258, "<think>", false));
    added.push_back(added_token(259, "</think>", false));
  }
  write(
      folder + "/tokenizer.json",
      {{"version", "1.0"},
       {"added_tokens", added},
       {"normalizer", nullptr},
       {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
       {"post_processor", nullptr},
       {"decoder", {{"type", "ByteLevel"}}},
       {"model", {{"type", "BPE"}, {"vocab", byte_vocabulary()}, {"merges", Json::array()}}}});
  write(folder + "/tokenizer_config.json",
        {{"eos_token", "<|im_end|>"},
         {"chat_template",
          "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor "
          "%}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"}});
}

TextModel::TextModel(const Options& options)
    : model((make_text_model(options.source, folder.path("m"), options.thinking),
             open_model(folder.path("m"), options.scheme, 2, options.max_rows, options.kv_cache))) {
}

const Model& text_model() {
  static const TextModel instance;
  return instance.model;
}

}  // namespace octet::testing

#pragma once
// The tokenizer fixtures (tests/data, made with Hugging Face tokenizers and sentencepiece).
#include <octet/tokenizer.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lib/core/mapped_file.h"
#include "lib/io/tokenizer_source.h"
#include "support/fixtures.h"

inline std::string fixture(const std::string& path) {
  return octet::read_file(octet::testing::fixture(path), size_t{1} << 30);
}

inline std::vector<nlohmann::json> fixture_lines(const std::string& path) {
  const std::string text = fixture(path);
  std::vector<nlohmann::json> lines;
  for (size_t at = 0, end; at < text.size(); at = end + 1) {
    end = text.find('\n', at);
    if (end == text.npos) end = text.size();
    if (end > at) lines.push_back(nlohmann::json::parse(text.substr(at, end - at)));
  }
  return lines;
}

inline octet::TokenizerSource json_source(std::string json, std::string config = "") {
  octet::TokenizerSource source;
  source.kind = octet::TokenizerSource::Kind::json;
  source.where = "test/tokenizer.json";
  source.json = std::move(json);
  source.config = std::move(config);
  return source;
}

inline octet::TokenizerSource qwen25_source() {
  return json_source(fixture("tokenizer/qwen2.5/tokenizer.json"),
                     fixture("tokenizer/qwen2.5/tokenizer_config.json"));
}

/// R1-Distill has Qwen2.5's vocabulary and added tokens of its own.
inline octet::TokenizerSource r1_distill_source() {
  auto json = nlohmann::json::parse(fixture("tokenizer/qwen2.5/tokenizer.json"));
  json["added_tokens"] = nlohmann::json::parse(fixture("tokenizer/r1-distill/added_tokens.json"));
  return json_source(json.dump(), fixture("tokenizer/r1-distill/tokenizer_config.json"));
}

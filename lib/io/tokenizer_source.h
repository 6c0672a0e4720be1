#pragma once
// The tokenizer part of a checkpoint as it was found, before lib/text makes a Tokenizer of it.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace octet {

/// The tokenizer.ggml.* keys of a GGUF file.
struct GgufVocabulary {
  std::string model;  ///< "gpt2" (byte-level BPE), "llama" (sentencepiece)
  std::string pre;    ///< pre-tokenizer: "qwen2", "smollm", ...
  std::vector<std::string> tokens;
  std::vector<int32_t> types;       ///< 1 normal, 2 unknown, 3 control, 4 user defined, 6 byte
  std::vector<float> scores;        ///< "llama" only
  std::vector<std::string> merges;  ///< "left right", "gpt2" only
  int32_t bos_id = -1;              ///< -1: not given
  int32_t eos_id = -1;
  bool add_bos = false;
  bool add_space_prefix = true;  ///< "llama" only
};

struct TokenizerSource {
  enum class Kind { json, sentencepiece, gguf, flat };
  Kind kind = Kind::json;
  std::string where;   ///< the file, for errors
  std::string json;    ///< json: text of tokenizer.json
  std::string config;  ///< json, sentencepiece: text of tokenizer_config.json; may be empty
  std::vector<std::byte> bytes;  ///< sentencepiece: the .model; flat: Tokenizer's own flat form
  GgufVocabulary gguf;           ///< gguf
};

/// path: a tokenizer.json, a directory that holds one (or else a tokenizer.model), a GGUF file
/// (also one without weights), a sentencepiece .model, or a converted octet file.
/// Errors: Io; InvalidFile; Unsupported if there is no tokenizer in it.
TokenizerSource read_tokenizer_source(const std::string& path);

}  // namespace octet

#pragma once
// What a tokenizer is inside: one implementation a kind (byte-level BPE, sentencepiece).
#include <octet/tokenizer.h>

#include <cstddef>

#include "lib/core/counted.h"

namespace octet {

struct TokenizerImpl : Counted {
  virtual void encode(std::string_view text, bool parse_special,
                      std::vector<int32_t>& ids) const = 0;
  /// The bytes that the id stands for; `first`: nothing came before it in this text.
  virtual void append_bytes(int32_t id, bool first, std::string& bytes) const = 0;
  virtual int32_t size() const = 0;
  virtual bool has_text(int32_t id) const = 0;
  virtual bool is_special(int32_t id) const = 0;
  virtual int32_t find(std::string_view token) const = 0;
  /// A flat form that make_tokenizer() reads back in well under 50 ms.
  virtual std::vector<std::byte> serialize() const = 0;

  int32_t bos_id = -1;
  bool add_bos = false;
};

/// Reads what serialize() wrote. `where` names the file in errors. The bytes are hostile until
/// checked. Errors: InvalidFile, Unsupported.
Tokenizer make_tokenizer(std::span<const std::byte> flat, const std::string& where);

/// From tokenizer.json (tokenizer_config may be empty): text of the files, not paths.
Tokenizer tokenizer_from_json(std::string_view json, std::string_view tokenizer_config,
                              const std::string& where);

/// From the bytes of a sentencepiece .model file.
Tokenizer tokenizer_from_sentencepiece(std::span<const std::byte> model, const std::string& where);

/// The tokenizer part of a GGUF file, already taken out of its key-value section.
struct GgufVocabulary {
  std::string model;  ///< tokenizer.ggml.model: "gpt2" (byte-level BPE), "llama"
  std::string pre;    ///< tokenizer.ggml.pre: "qwen2", "smollm", ...
  std::vector<std::string> tokens;
  std::vector<int32_t> types;  ///< 1 normal, 2 unknown, 3 control, 4 user defined, 6 byte
  std::vector<float> scores;
  std::vector<std::string> merges;
  int32_t bos_id = -1;
  bool add_bos = false;
  bool add_space_prefix = true;  ///< "llama" only
};
Tokenizer tokenizer_from_gguf(const GgufVocabulary& vocabulary, const std::string& where);

}  // namespace octet

#include "lib/io/gguf_vocabulary.h"

#include "lib/core/error.h"

namespace octet {
namespace {

/// A token id; -1 if the key is absent or says "none" (2^32 - 1).
int32_t token_id(const Gguf& gguf, std::string_view key, size_t size, const std::string& where) {
  const int64_t id = gguf.integer(key).value_or(-1);
  if (id == -1 || id == UINT32_MAX) return -1;
  require(id >= 0 && id < static_cast<int64_t>(size), ErrorCode::InvalidFile, where, ": ", key,
          " is ", id, ", the vocabulary has ", size);
  return static_cast<int32_t>(id);
}

void check_length(size_t found, size_t expected, const char* key, const std::string& where) {
  require(found == 0 || found == expected, ErrorCode::InvalidFile, where, ": ", key, " has ", found,
          " values for ", expected, " tokens");
}

}  // namespace

std::optional<GgufVocabulary> read_gguf_vocabulary(const Gguf& gguf, const std::string& where) {
  if (!gguf.has("tokenizer.ggml.tokens")) return {};
  GgufVocabulary vocabulary;
  vocabulary.model = gguf.text("tokenizer.ggml.model").value_or("");
  vocabulary.pre = gguf.text("tokenizer.ggml.pre").value_or("");
  vocabulary.tokens = gguf.texts("tokenizer.ggml.tokens");
  vocabulary.types = gguf.integers("tokenizer.ggml.token_type");
  vocabulary.scores = gguf.numbers("tokenizer.ggml.scores");
  vocabulary.merges = gguf.texts("tokenizer.ggml.merges");
  const size_t size = vocabulary.tokens.size();
  check_length(vocabulary.types.size(), size, "tokenizer.ggml.token_type", where);
  check_length(vocabulary.scores.size(), size, "tokenizer.ggml.scores", where);
  vocabulary.bos_id = token_id(gguf, "tokenizer.ggml.bos_token_id", size, where);
  vocabulary.eos_id = token_id(gguf, "tokenizer.ggml.eos_token_id", size, where);
  // llama.cpp's defaults: sentencepiece adds BOS and a leading space, BPE adds no BOS.
  vocabulary.add_bos =
      gguf.boolean("tokenizer.ggml.add_bos_token").value_or(vocabulary.model == "llama");
  vocabulary.add_space_prefix = gguf.boolean("tokenizer.ggml.add_space_prefix").value_or(true);
  return vocabulary;
}

}  // namespace octet

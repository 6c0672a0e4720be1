#pragma once
// A byte-level BPE vocabulary as other programs read it.
#include <string>

#include "lib/text/bpe_model.h"

namespace octet {

/// As Hugging Face's tokenizer.json: the same ids for every text, and the same text for all ids.
std::string bpe_to_json(const BpeModel& model);

/// As the tokenizer.ggml.* keys of a GGUF file. size: the rows of the embedding, at least the
/// vocabulary's; ids without a token become "[PAD<id>]". Errors: Unsupported if the model splits
/// text in a way that no pre-tokenizer which octet knows by a GGUF name does.
GgufVocabulary bpe_to_gguf(const BpeModel& model, int64_t size, const std::string& where);

/// The name that GGUF files have for the way in which a model splits text; empty: none known.
std::string_view gguf_pre_tokenizer(const BpeModel& model, bool ignore_merges);

/// Bytes in GPT-2's byte alphabet, as vocabularies spell their tokens.
std::string to_byte_alphabet(std::string_view bytes);

}  // namespace octet

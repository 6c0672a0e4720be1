#pragma once
#include <octet/tokenizer.h>

#include <vector>

#include "tools/serve/fields.h"

namespace octet::serve {

/// Token ids from a field that holds a text, a list of texts, a list of ids, or a list of those.
/// Text that spells special tokens is plain text; who wants them gives ids.
/// Errors: ApiError 400.
std::vector<std::vector<int32_t>> read_prompts(Fields& fields, const char* name,
                                               const Tokenizer& tokenizer);

/// A list of token ids. Errors: ApiError 400.
std::vector<int32_t> read_ids(const Fields& fields, const char* name, const Json& list);

/// Text as the model reads it: with the beginning-of-text token where the model's own encoding has
/// one, without special tokens otherwise.
std::vector<int32_t> encode_text(const Tokenizer& tokenizer, const std::string& text);

}  // namespace octet::serve

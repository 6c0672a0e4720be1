#pragma once
// Byte-level BPE: added tokens, normalization, split into words, merges.
#include <octet/handle.h>

#include <string>

#include "lib/text/bpe_model.h"
#include "lib/text/tokenizer_impl.h"

namespace octet {

/// `where` names the file in errors. Errors: InvalidFile, Unsupported for its split patterns.
Handle<TokenizerImpl> make_bpe_tokenizer(BpeModel model, const std::string& where);

}  // namespace octet

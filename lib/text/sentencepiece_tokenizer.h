#pragma once
// Sentencepiece tokenizers, encoded by the sentencepiece library (CMake: OCTET_SENTENCEPIECE).
#include <octet/handle.h>

#include "lib/text/tokenizer_flat.h"
#include "lib/text/tokenizer_impl.h"

namespace octet {

/// source: of kind sentencepiece, or gguf with the model "llama".
/// Errors: InvalidFile; Unsupported, also if octet was built without sentencepiece.
Handle<TokenizerImpl> make_sentencepiece_tokenizer(const TokenizerSource& source);

/// From the flat form, behind its header. Errors: the same.
Handle<TokenizerImpl> read_sentencepiece_tokenizer(FlatReader& in);

}  // namespace octet

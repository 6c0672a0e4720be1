#pragma once
#include <optional>
#include <string>

#include "lib/io/gguf.h"
#include "lib/io/tokenizer_source.h"

namespace octet {

/// The tokenizer of a GGUF file; empty if it has none. `where` names the file in errors.
/// Errors: InvalidFile.
std::optional<GgufVocabulary> read_gguf_vocabulary(const Gguf& gguf, const std::string& where);

}  // namespace octet

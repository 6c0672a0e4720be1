#pragma once
#include <memory>
#include <string>

#include "lib/io/checkpoint.h"

namespace octet {

/// A .gguf file with its tensors under Hugging Face's names and in its order of rows. The tensors
/// are not yet compared with the config. Errors: Io, InvalidFile, Unsupported.
std::unique_ptr<Checkpoint> open_gguf(const std::string& path);

/// Tokenizer and chat template of a .gguf file, also of one without weights; empty where it has
/// none. Errors: as above.
CheckpointText read_gguf_text(const std::string& path);

/// The name that a tensor has in a GGUF file, by its Hugging Face name.
std::string gguf_name(const std::string& hf_name);

}  // namespace octet

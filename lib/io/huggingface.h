#pragma once
#include <memory>
#include <string>

#include "lib/io/checkpoint.h"

namespace octet {

/// path: a Hugging Face directory (model.safetensors, or shards and model.safetensors.index.json),
/// or one .safetensors file with a config.json beside it. The tensors are not yet compared with
/// the config. Errors: Io, InvalidFile, Unsupported.
std::unique_ptr<Checkpoint> open_huggingface(const std::string& path);

/// Tokenizer and chat template of a directory; empty where it has none. Errors: as above.
CheckpointText read_huggingface_text(const std::string& directory);

}  // namespace octet

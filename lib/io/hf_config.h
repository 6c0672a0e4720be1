#pragma once
#include <octet/model.h>

#include <string>

namespace octet {

/// The model that a Hugging Face directory's config.json describes, with the defaults for
/// generation from generation_config.json if there is one. Does not look at how the checkpoint is
/// quantized (lib/io/compressed_tensors.h).
/// Errors: Io; InvalidFile; Unsupported naming what was found and what is known.
ModelConfig read_hf_config(const std::string& directory);

}  // namespace octet

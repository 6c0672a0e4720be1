#pragma once
#include <octet/export_model.h>

#include "lib/core/thread_pool.h"
#include "lib/export/encode.h"
#include "lib/io/checkpoint.h"

namespace octet {

/// A GGUF file. encoding: of the matrices whose rows it divides into whole blocks; the others are
/// f16, norm weights and biases f32. Errors: Unsupported for what GGUF does not say.
void export_gguf(const Checkpoint& checkpoint, const std::string& output, const Encoding& encoding,
                 ExportReport& report, ThreadPool& pool, Progress progress);

}  // namespace octet

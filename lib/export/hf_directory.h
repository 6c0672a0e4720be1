#pragma once
#include <octet/export_model.h>

#include "lib/core/thread_pool.h"
#include "lib/export/encode.h"
#include "lib/io/checkpoint.h"

namespace octet {

/// A Hugging Face directory. int8: matrices that the checkpoint has as int8 keep their values and
/// scales, as compressed-tensors stores them. encoding: of the others.
void export_hf(const Checkpoint& checkpoint, const std::string& output, const Encoding& encoding,
               bool int8, ExportReport& report, ThreadPool& pool, Progress progress);

}  // namespace octet

#pragma once
// Streams a checkpoint's tensors into a file in slabs of rows, shared out over threads.
#include <octet/function_ref.h>

#include "lib/convert/write_tensors.h"
#include "lib/export/encode.h"

namespace octet {

/// One tensor to be written.
struct ExportedTensor {
  ModelTensor tensor;
  const Encoding* encoding = nullptr;  ///< null: int8 as the checkpoint has it, the scales beside
  size_t index = 0;                    ///< in the file's plan
  size_t scale_index = 0;              ///< of its scales, F32 [n, 1]
  /// Above 0: rows in the order of a GGUF llama's q and k with this many heads.
  int64_t interleaved_heads = 0;
};

/// write(index, offset, bytes): into the file, from any thread.
/// Errors: InvalidFile for a value that is not finite; Unsupported for one that the type cannot
/// hold, naming the tensor; Cancelled.
void export_tensors(const Checkpoint& checkpoint, const std::vector<ExportedTensor>& tensors,
                    FunctionRef<void(size_t, uint64_t, std::span<const std::byte>)> write,
                    ThreadPool& pool, Progress progress);

}  // namespace octet

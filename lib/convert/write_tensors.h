#pragma once
#include <octet/model.h>

#include "lib/core/thread_pool.h"
#include "lib/io/checkpoint.h"
#include "lib/model/tensor_store.h"

namespace octet {

/// Reads every tensor of a checkpoint, brings it into the scheme's form (quantized, packed) and
/// gives it to the sink, whose tensor indices are those of stored_tensors(config, scheme). The
/// tensors stream through in slabs of rows: memory is some 10 MB a thread. The result depends on
/// nothing but the weights and the scheme.
/// Progress counts weights; it is called from any of the pool's threads, one at a time.
/// Errors: InvalidFile naming a tensor with a value that is not finite; Unsupported for one that
/// f16 cannot hold; Cancelled.
void write_tensors(const Checkpoint& checkpoint, Scheme scheme, TensorSink& sink, ThreadPool& pool,
                   Progress progress);

}  // namespace octet

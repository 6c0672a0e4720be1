#pragma once
#include <memory>

#include "lib/io/checkpoint.h"
#include "lib/model/octet_file.h"

namespace octet {

/// A converted file as a checkpoint again. read_rows() gives what the model multiplies by: int8
/// values times their scales, without the Hadamard blocks that are applied to a linear's input at
/// run time (they are their own inverse). What needs nothing at run time stays, R1, R2 and scales:
/// the model is the same function with them. Matrices of scheme w8a8 can be read as they are, too,
/// then with those blocks.
std::unique_ptr<Checkpoint> octet_checkpoint(std::unique_ptr<OctetFile> file);

}  // namespace octet

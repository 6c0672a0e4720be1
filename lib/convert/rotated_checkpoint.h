#pragma once
#include <memory>

#include "lib/io/checkpoint.h"
#include "lib/model/rotation.h"

namespace octet {

/// `source` with rotated weights: the same function of its input, as long as down_proj's input is
/// multiplied by Hadamard blocks when the model runs (kernels/types.h, hadamard_f32). With R1, R2
/// the matrices of quant/rotation.h of the hidden size and the head size, R4 the Hadamard blocks,
/// and g the weight of the RMSNorm before a linear, which becomes 1:
///   embedding  E R1              q, k, gate, up, head  W diag(g) R1
///   v          R2 W diag(g) R1   o  R1 W R2            down  R1 W R4     v's bias  R2 b
/// (R2 in each head's rows or columns.) A tied head is no longer the embedding: the config says so,
/// and "lm_head.weight" exists. The tensors of lib/model/folded_columns.h can be read, too. Source:
/// QuaRot, arXiv:2404.00456, section 4. sizes: as rotation_sizes() has them; of down 1 for no R4.
std::unique_ptr<Checkpoint> rotated_checkpoint(std::unique_ptr<Checkpoint> source,
                                               const RotationSizes& sizes);

/// The sizes of all matrices for this shape.
RotationSizes rotation_sizes(const ModelConfig& config);

}  // namespace octet

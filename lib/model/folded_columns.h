#pragma once
// What was multiplied into the columns of rotated weights besides orthogonal matrices: the norms. A
// converted file keeps it, so that adapters made for the weights as they were can be brought to the
// same form. Of scaled ones it keeps the scales.
#include <memory>
#include <string>
#include <vector>

#include "lib/io/checkpoint.h"
#include "lib/model/rotation.h"
#include "lib/model/tensor_store.h"

namespace octet {

/// The name of the tensor [hidden_size] c for the weights W diag(c) R of q, k, v ("qkv") or of gate
/// and up ("gate_up") in a layer, and for the head's.
std::string columns_name(int64_t layer, const char* linears);
inline constexpr const char* head_columns_name = "octet.columns.head";

/// All of these tensors; none for weights that are not rotated.
std::vector<ModelTensor> folded_columns(const ModelConfig& config, const RotationSizes& rotation);

/// F32 tensors octet.input_scale.N.qkv, .o, .gate_up, .down of each layer, octet.input_scale.head.
/// Whoever adds to a linear of a converted file (an adapter) needs them.
std::vector<StoredTensor> input_scale_tensors(const ModelConfig& config);

/// What of these tensors the store has, in memory of its own.
std::unique_ptr<TensorStore> copy_for_adapters(const ModelConfig& config,
                                               const RotationSizes& rotation,
                                               const TensorStore& from);

}  // namespace octet

#pragma once
// What was multiplied into the columns of rotated or scaled weights besides orthogonal matrices. A
// converted file keeps it, so that adapters made for the weights as they were can be brought to the
// same form.
#include <string>
#include <vector>

#include "lib/io/checkpoint.h"
#include "lib/model/rotation.h"

namespace octet {

/// The name of the tensor c [k] for the weights W diag(c) R [n, k] in a layer: "qkv", "gate_up",
/// and of scaled weights "o" and "down"; and for the head's. Where o has c, v's rows are divided by
/// it (heads that share a kv head share c); where down has, up's.
std::string columns_name(int64_t layer, const char* linears);
inline constexpr const char* head_columns_name = "octet.columns.head";

/// All of these tensors; none for weights that are not rotated.
std::vector<ModelTensor> folded_columns(const ModelConfig& config, const RotationSizes& rotation);

}  // namespace octet

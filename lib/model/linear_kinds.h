#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lib/model/weights.h"

namespace octet {

/// The kinds of linears: of each layer, and the head.
enum class LinearKind { q, k, v, o, gate, up, down, head };
inline constexpr int num_layer_kinds = 7;

/// "q", .. "head"
const char* to_string(LinearKind kind);
/// Whether no other linear has the same input: o, down, head. The others' inputs are quantized once
/// for q, k and v, and once for gate and up, so these have one scheme.
bool has_own_input(LinearKind kind);
/// The name of the linear's weight; the head is in no layer.
std::string weight_name(LinearKind kind, int64_t layer);
/// One of the first seven kinds.
Linear& linear_of(LayerWeights& layer, LinearKind kind);
const Linear& linear_of(const LayerWeights& layer, LinearKind kind);

}  // namespace octet

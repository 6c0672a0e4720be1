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
/// Whether no other linear has the same input: o, down, head. An input is quantized in each form
/// that its linears ask for, so the search gives groups to these alone; each linear may be in two
/// planes or fp16 whatever the others are.
bool has_own_input(LinearKind kind);
/// The name of the linear's weight; the head is in no layer.
std::string weight_name(LinearKind kind, int64_t layer);
/// One of the first seven kinds.
Linear& linear_of(LayerWeights& layer, LinearKind kind);
const Linear& linear_of(const LayerWeights& layer, LinearKind kind);

}  // namespace octet

#pragma once
#include <octet/model.h>

#include <set>
#include <string>
#include <string_view>

namespace octet {

/// The linears, by the name of their weight, whose inputs are multiplied as two int8 planes:
/// x ~ s1 q1 + s2 q2, where q2 is what q1 left over, quantized in turn.
using TwoPlanes = std::set<std::string, std::less<>>;

/// The linears that ModelOptions::mixed names; none in a float scheme.
/// Errors: InvalidArgument for a name that is not known.
TwoPlanes two_planes(const ModelConfig& config, Scheme scheme, std::string_view mixed);

/// As JSON text, for the converted file, and back. Errors: InvalidFile if it is none, or names what
/// is no linear of this config.
std::string two_planes_to_json(const TwoPlanes& linears);
TwoPlanes two_planes_from_json(std::string_view json, const ModelConfig& config,
                               const std::string& where);

}  // namespace octet

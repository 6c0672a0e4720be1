#pragma once
#include <octet/model.h>

#include <map>
#include <string>
#include <string_view>

namespace octet {

/// The scheme of each matrix: the model's, but for those that are named.
struct Schemes {
  /// The same scheme for all.
  Schemes(Scheme all) : model(all) {}

  Scheme of(std::string_view weight) const;

  Scheme model;
  std::map<std::string, Scheme, std::less<>> others = {};  ///< by the name of the weight
};

/// The scheme that a converted file names. Errors: Unsupported.
Scheme stored_scheme(std::string_view name, const std::string& where);

/// The matrices that differ from the model's scheme as JSON text, for the converted file, and back.
/// Errors: InvalidFile if it is none, or names what is no matrix of this config; Unsupported for a
/// scheme that is not known.
std::string others_to_json(const Schemes& schemes);
Schemes schemes_from_json(Scheme model, std::string_view others, const ModelConfig& config,
                          const std::string& where);

}  // namespace octet

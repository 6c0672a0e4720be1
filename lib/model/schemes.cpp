#include "lib/model/schemes.h"

#include <set>

#include "lib/core/error.h"
#include "lib/io/checkpoint.h"
#include "lib/io/json.h"

namespace octet {

Scheme Schemes::of(std::string_view weight) const {
  const auto found = others.find(weight);
  return found == others.end() ? model : found->second;
}

Scheme stored_scheme(std::string_view name, const std::string& where) {
  try {
    return parse_scheme(name);
  } catch (const Error& error) {
    fail(ErrorCode::Unsupported, where, ": ", error.what());
  }
}

std::string others_to_json(const Schemes& schemes) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& [weight, scheme] : schemes.others) object[weight] = to_string(scheme);
  return object.dump();
}

Schemes schemes_from_json(Scheme model, std::string_view others, const ModelConfig& config,
                          const std::string& where) {
  const nlohmann::json json = parse_json(others, where);
  require(json.is_object(), ErrorCode::InvalidFile, where, ": octet.schemes is no JSON object");
  std::set<std::string, std::less<>> matrices;
  for (const ModelTensor& tensor : model_tensors(config))
    if (tensor.shape.size() == 2) matrices.insert(tensor.name);
  Schemes schemes(model);
  for (const auto& [weight, name] : json.items()) {
    require(matrices.contains(weight) && name.is_string(), ErrorCode::InvalidFile, where,
            ": octet.schemes says ", name.dump(), " of '", weight,
            "'; the name of a scheme expected, for a matrix of this model");
    schemes.others[weight] = stored_scheme(name.get<std::string>(), where);
  }
  return schemes;
}

}  // namespace octet

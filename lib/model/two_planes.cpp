#include "lib/model/two_planes.h"

#include <array>

#include "lib/core/error.h"
#include "lib/io/json.h"

namespace octet {
namespace {

struct Kind {
  std::string_view name;
  std::string_view weight;  ///< in a layer; empty: the head
};
constexpr std::array<Kind, 8> kinds = {{{"q", "self_attn.q_proj.weight"},
                                        {"k", "self_attn.k_proj.weight"},
                                        {"v", "self_attn.v_proj.weight"},
                                        {"o", "self_attn.o_proj.weight"},
                                        {"gate", "mlp.gate_proj.weight"},
                                        {"up", "mlp.up_proj.weight"},
                                        {"down", "mlp.down_proj.weight"},
                                        {"head", ""}}};

void add_kind(const ModelConfig& config, const Kind& kind, TwoPlanes& linears) {
  if (kind.weight.empty()) linears.insert("lm_head.weight");
  for (int64_t layer = 0; layer < config.num_layers && !kind.weight.empty(); ++layer)
    linears.insert(str("model.layers.", layer, ".", kind.weight));
}

}  // namespace

TwoPlanes two_planes(const ModelConfig& config, Scheme scheme, std::string_view mixed) {
  TwoPlanes linears;
  for (std::string_view rest = mixed; rest != "off";) {
    const size_t comma = rest.find(',');
    const std::string_view name = rest.substr(0, comma);
    bool known = false;
    for (const Kind& kind : kinds) {
      if (kind.name != name) continue;
      add_kind(config, kind, linears);
      known = true;
    }
    require(known, ErrorCode::InvalidArgument, "mixed '", mixed,
            "': off, or some of q,k,v,o,gate,up,down,head expected");
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  return is_int8(scheme) ? linears : TwoPlanes();
}

std::string two_planes_to_json(const TwoPlanes& linears) {
  return nlohmann::json(linears).dump();
}

TwoPlanes two_planes_from_json(std::string_view text, const ModelConfig& config,
                               const std::string& where) {
  TwoPlanes known, linears;
  for (const Kind& kind : kinds) add_kind(config, kind, known);
  const nlohmann::json json = parse_json(text, where);
  require(json.is_array(), ErrorCode::InvalidFile, where, ": octet.two_planes is no JSON list");
  for (const nlohmann::json& name : json) {
    require(name.is_string() && known.contains(name.get<std::string>()), ErrorCode::InvalidFile,
            where, ": octet.two_planes names ", name.dump(), ", which is no linear of this model");
    linears.insert(name.get<std::string>());
  }
  return linears;
}

}  // namespace octet

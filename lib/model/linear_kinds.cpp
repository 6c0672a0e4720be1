#include "lib/model/linear_kinds.h"

#include "lib/core/error.h"

namespace octet {
namespace {

struct Kind {
  const char* name;
  const char* weight;  ///< in a layer
  Linear LayerWeights::*linear;
};
constexpr Kind kinds[num_layer_kinds] = {{"q", "self_attn.q_proj.weight", &LayerWeights::q},
                                         {"k", "self_attn.k_proj.weight", &LayerWeights::k},
                                         {"v", "self_attn.v_proj.weight", &LayerWeights::v},
                                         {"o", "self_attn.o_proj.weight", &LayerWeights::o},
                                         {"gate", "mlp.gate_proj.weight", &LayerWeights::gate},
                                         {"up", "mlp.up_proj.weight", &LayerWeights::up},
                                         {"down", "mlp.down_proj.weight", &LayerWeights::down}};

}  // namespace

const char* to_string(LinearKind kind) {
  return kind == LinearKind::head ? "head" : kinds[static_cast<int>(kind)].name;
}

bool has_own_input(LinearKind kind) {
  return kind == LinearKind::o || kind == LinearKind::down || kind == LinearKind::head;
}

std::string weight_name(LinearKind kind, int64_t layer) {
  if (kind == LinearKind::head) return "lm_head.weight";
  return str("model.layers.", layer, ".", kinds[static_cast<int>(kind)].weight);
}

Linear& linear_of(LayerWeights& layer, LinearKind kind) {
  return layer.*kinds[static_cast<int>(kind)].linear;
}
const Linear& linear_of(const LayerWeights& layer, LinearKind kind) {
  return layer.*kinds[static_cast<int>(kind)].linear;
}

}  // namespace octet

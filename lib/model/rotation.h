#pragma once
#include <octet/model.h>

#include <string>
#include <string_view>

namespace octet {

/// What was multiplied into a model's weights (lib/convert/rotated_checkpoint.h): the sizes of the
/// orthogonal matrices; all 1 for weights as they were.
struct RotationSizes {
  int64_t hidden = 1;  ///< R1, the residual stream
  int64_t head = 1;    ///< R2, each value head
  int64_t down = 1;    ///< R4: down_proj's input is multiplied by Hadamard blocks of this size
  int64_t norm = 1;    ///< the same for what RMSNorms give to q, k, v, gate, up and the head

  bool any() const { return hidden > 1 || head > 1 || down > 1 || norm > 1; }
};

/// As JSON text, for the converted file, and back. Errors: InvalidFile if it is none, or does not
/// fit the config.
std::string rotation_to_json(const RotationSizes& sizes);
RotationSizes rotation_from_json(std::string_view json, const ModelConfig& config,
                                 const std::string& where);

}  // namespace octet

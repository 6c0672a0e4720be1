#pragma once
#include <octet/model.h>

#include <cstdint>
#include <vector>

namespace octet {

/// Rotary frequencies of one session; fixed for its life, so that cached keys stay valid.
struct Rope {
  std::vector<float> inv_freq;    ///< [head_dim / 2]
  float attention_factor = 1.0f;  ///< on cos and sin

  /// cos, sin [head_dim / 2] of one position. The angle is fp32, as the models were trained.
  void angles(int64_t position, float* cos, float* sin) const;
};

/// The most positions that a session of this model may have.
int64_t context_limit(const ModelConfig& config);

/// Frequencies for a session of `context` positions.
///   plain        theta^(-2i/d)                                     (Su et al., arXiv:2104.09864)
///   linear       plain / factor
///   dynamic NTK  plain with theta (factor L / L0 - (factor - 1))^(d / (d - 2)), L = context > L0
///   YaRN         Peng et al., arXiv:2309.00071, section 3.2 to 3.4
Rope make_rope(const ModelConfig& config, int64_t context);

}  // namespace octet

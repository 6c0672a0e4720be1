#include "lib/model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace octet {
namespace {

int64_t original_context(const ModelConfig& config) {
  const int64_t original = config.rope_scaling.original_context;
  return original > 0 ? original : config.max_positions;
}

/// theta so that the lowest frequency is interpolated by the factor that `context` needs.
double dynamic_theta(const ModelConfig& config, int64_t context) {
  const double trained = static_cast<double>(original_context(config));
  const double length = std::max(trained, static_cast<double>(context));
  const double factor = config.rope_scaling.factor;
  const double d = static_cast<double>(config.head_dim);
  return config.rope_theta * std::pow(factor * length / trained - (factor - 1), d / (d - 2));
}

/// The (fractional) pair that turns `rotations` times over the original context.
double yarn_pair(const ModelConfig& config, double rotations) {
  return static_cast<double>(config.head_dim) *
         std::log(static_cast<double>(original_context(config)) /
                  (2 * std::numbers::pi * rotations)) /
         (2 * std::log(config.rope_theta));
}

/// Pairs up to `low` keep their frequency, pairs from `high` on are interpolated by 1 / factor.
std::vector<float> yarn_frequencies(const ModelConfig& config, const std::vector<float>& plain) {
  const RopeScaling& scaling = config.rope_scaling;
  const double last = static_cast<double>(config.head_dim) - 1;
  const double low = std::max(std::floor(yarn_pair(config, scaling.beta_fast)), 0.0);
  double high = std::min(std::ceil(yarn_pair(config, scaling.beta_slow)), last);
  if (low == high) high += 0.001;  // a ramp of no width would divide by zero
  std::vector<float> result(plain.size());
  for (size_t i = 0; i < plain.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    result[i] = static_cast<float>(plain[i] / scaling.factor * ramp + plain[i] * (1 - ramp));
  }
  return result;
}

}  // namespace

void Rope::angles(int64_t position, float* cos, float* sin) const {
  for (size_t i = 0; i < inv_freq.size(); ++i) {
    const double angle = static_cast<float>(position) * inv_freq[i];
    cos[i] = static_cast<float>(std::cos(angle)) * attention_factor;
    sin[i] = static_cast<float>(std::sin(angle)) * attention_factor;
  }
}

int64_t context_limit(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  if (scaling.kind == RopeScaling::Kind::none) return config.max_positions;
  const double scaled = scaling.factor * static_cast<double>(original_context(config));
  // Linear scaling without an original context: max_positions already counts the factor.
  if (scaling.kind == RopeScaling::Kind::linear && scaling.original_context == 0)
    return config.max_positions;
  return std::max(config.max_positions, static_cast<int64_t>(std::min(scaled, 1e9)));
}

Rope make_rope(const ModelConfig& config, int64_t context) {
  using Kind = RopeScaling::Kind;
  const RopeScaling& scaling = config.rope_scaling;
  const double theta =
      scaling.kind == Kind::dynamic_ntk ? dynamic_theta(config, context) : config.rope_theta;
  Rope rope;
  for (int64_t i = 0; i < config.head_dim / 2; ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(config.head_dim);
    double frequency = std::pow(theta, -exponent);
    if (scaling.kind == Kind::linear) frequency /= scaling.factor;
    rope.inv_freq.push_back(static_cast<float>(frequency));
  }
  if (scaling.kind == Kind::yarn) {
    rope.inv_freq = yarn_frequencies(config, rope.inv_freq);
    const double factor = scaling.attention_factor > 0 ? scaling.attention_factor
                          : scaling.factor > 1         ? 0.1 * std::log(scaling.factor) + 1
                                                       : 1.0;
    rope.attention_factor = static_cast<float>(factor);
  }
  return rope;
}

}  // namespace octet

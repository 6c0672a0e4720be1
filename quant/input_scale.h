#pragma once
// Scales of a linear's input channels that share the rounding errors out between activations and
// weights (SmoothQuant, Xiao et al. 2022, arXiv:2211.10438, which chooses them by maxima).
#include <cstdint>
#include <span>
#include <vector>

namespace octet::quant {

/// s [k] for x' = s x, W' = W / s. After an orthogonal matrix that spreads each channel over all,
/// the rounding errors of x' and those of W' both cost in proportion to
///   (sum of energy_i s_i^2) (sum of weight_i / s_i^2),
/// which is least for s_i = (weight_i / energy_i)^(1/4) (Cauchy and Schwarz).
/// energy: mean x_i^2; weight: sum of w_i^2 over the rows. Of both, channels below a millionth of
/// the mean count as that much. The geometric mean of s is 1; it is all 1 if either is all 0.
std::vector<float> input_scale(std::span<const double> energy, std::span<const double> weight);

}  // namespace octet::quant

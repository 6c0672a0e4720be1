#include "quant/input_scale.h"

#include <algorithm>
#include <cmath>

namespace octet::quant {
namespace {

constexpr double least_share = 1e-6;

double mean(std::span<const double> values) {
  double sum = 0;
  for (double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

}  // namespace

std::vector<float> input_scale(std::span<const double> energy, std::span<const double> weight) {
  const double least_energy = least_share * mean(energy), least_weight = least_share * mean(weight);
  if (!(least_energy > 0 && least_weight > 0)) return std::vector<float>(energy.size(), 1.0f);
  std::vector<double> logs;
  for (size_t i = 0; i < energy.size(); ++i)
    logs.push_back((std::log(std::max(weight[i], least_weight)) -
                    std::log(std::max(energy[i], least_energy))) /
                   4);
  const double middle = mean(logs);
  std::vector<float> scale;
  for (double log : logs) scale.push_back(static_cast<float>(std::exp(log - middle)));
  return scale;
}

}  // namespace octet::quant

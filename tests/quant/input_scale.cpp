// The scales of input channels against the product that they are to make least.
#include "quant/input_scale.h"

#include <doctest/doctest.h>

#include <cmath>
#include <random>

using octet::quant::input_scale;

namespace {

using Doubles = std::vector<double>;

/// (sum of energy s^2) (sum of weight / s^2)
double product(const Doubles& energy, const Doubles& weight, const std::vector<float>& scale) {
  double x = 0, w = 0;
  for (size_t i = 0; i < scale.size(); ++i) {
    const double square = double{scale[i]} * scale[i];
    x += energy[i] * square;
    w += weight[i] / square;
  }
  return x * w;
}

}  // namespace

TEST_CASE("no scales near those chosen make the product of errors less, and its least is known") {
  std::mt19937 generator(7);
  const auto uniform = [&] { return (generator() % 1000 + 1) / 1000.0; };
  Doubles energy, weight;
  for (int i = 0; i < 40; ++i) {
    energy.push_back(std::pow(0.1 + uniform(), 4));  // far above what counts as nothing
    weight.push_back(std::pow(0.1 + uniform(), 2));
  }
  energy[5] = 1e3;  // an outlier channel
  const std::vector<float> scale = input_scale(energy, weight);
  double root = 0, logs = 0;
  for (size_t i = 0; i < energy.size(); ++i) {
    root += std::sqrt(energy[i] * weight[i]);
    logs += std::log(scale[i]);
  }
  const double least = product(energy, weight, scale);
  CHECK(least == doctest::Approx(root * root).epsilon(1e-3));  // Cauchy and Schwarz
  CHECK(std::abs(logs) < 1e-4);
  CHECK(least < 0.5 * product(energy, weight, std::vector<float>(energy.size(), 1.0f)));
  for (size_t i = 0; i < scale.size(); ++i)
    for (float factor : {0.8f, 1.25f}) {
      std::vector<float> other = scale;
      other[i] *= factor;
      CHECK(product(energy, weight, other) > least);
    }
}

TEST_CASE("degenerate channels get finite scales") {
  const Doubles ones(8, 1.0), zeros(8, 0.0);
  const std::vector<float> unit(8, 1.0f);
  CHECK(input_scale(ones, ones) == unit);
  CHECK(input_scale(zeros, ones) == unit);
  CHECK(input_scale(ones, zeros) == unit);
  CHECK(input_scale(Doubles(8, std::nan("")), ones) == unit);
  Doubles huge = ones, dead = ones;
  huge[3] = 1e30;
  dead[2] = 0;
  for (const Doubles& energy : {huge, dead})
    for (const Doubles& weight : {huge, dead})
      for (float scale : input_scale(energy, weight)) {
        CHECK(std::isfinite(scale));
        CHECK(scale > 0);
      }
  CHECK(input_scale(huge, ones)[3] < 1);
  CHECK(input_scale(dead, ones)[2] > 1);
}

// The tensor library alone: a linear in fp32 and in int8, and how far apart they are.
#include <octet/ops.h>
#include <octet/tensor.h>

#include <cmath>
#include <iostream>
#include <random>

int main() {
  const int64_t rows = 4, in = 1536, out = 256;
  octet::Tensor<float, 2> x({rows, in}), w({out, in}), exact({rows, out}), y({rows, out});
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (float& value : x.elements()) value = normal(random);
  for (float& value : w.elements()) value = normal(random);

  const octet::ops::QuantizedMatrix q(w);
  octet::ops::linear(x, w, {}, exact);
  octet::ops::linear(x, q, {}, y);

  double difference = 0, total = 0;
  for (int64_t i = 0; i < y.size(); ++i) {
    difference += std::pow(y.data()[i] - exact.data()[i], 2);
    total += std::pow(exact.data()[i], 2);
  }
  const double error = std::sqrt(difference / total);
  std::cout << "fp32 " << w.size() * sizeof(float) << " bytes, int8 " << q.bytes()
            << " bytes, relative error " << error << "\n";
  return error < 0.02 ? 0 : 1;
}

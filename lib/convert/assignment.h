#pragma once
#include <set>
#include <span>
#include <string>

#include "lib/convert/sensitivity.h"
#include "lib/model/two_planes.h"

namespace octet {

/// Which linears are more than one int8 plane, and the KL that is expected of the model.
struct Assignment {
  TwoPlanes two_planes;
  std::set<std::string> grouped;  ///< weights with a scale a group of 128
  std::set<std::string> f16;      ///< weights that stay fp16
  double expected_kl = 0;
};

/// A cheap way to bring the model's KL from `kl`, with every linear in one int8 plane, down to the
/// budget: step by step, what saves the most KL for its cost. A linear saves its share of the sum
/// of all linears' own KLs, or the part of it that its form saves; it costs, as shares of all
/// linears' multiplications and of their bytes,
///   groups      scales of 128 inputs: a fifth of its multiplications, for scaling their sums and
///   for 3 % more bytes
///   two planes  its multiplications once more in prefill; decoding reads no more bytes
///   fp16        so much that it comes last
/// Ties fall to the earlier linear. Misses the budget only if all linears are fp16.
Assignment assign(std::span<const LinearSensitivity> linears, double kl, double budget);

}  // namespace octet

#pragma once
// Logits of whole models, and how near they come to others.
#include <octet/session.h>

#include <cmath>
#include <vector>

#include "support/evaluate.h"
#include "support/fixtures.h"

namespace octet::testing {

/// The least cosine between rows of logits, over rows.
inline double least_cosine(const std::vector<float>& a, const std::vector<float>& b, size_t vocab) {
  double least = 1;
  for (size_t row = 0; row < a.size(); row += vocab) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = row; i < row + vocab; ++i) {
      ab += double{a[i]} * b[i];
      aa += double{a[i]} * a[i];
      bb += double{b[i]} * b[i];
    }
    const double cosine = ab / std::sqrt(aa * bb);
    least = cosine >= least ? least : cosine;
  }
  return least;
}

}  // namespace octet::testing

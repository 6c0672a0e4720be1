#pragma once
// Logits of whole models, and how near they come to others.
#include <octet/session.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "support/evaluate.h"
#include "support/fixtures.h"

namespace octet::testing {

inline std::vector<int32_t> some_ids(const Model& model, int64_t count, int64_t seed) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i)
    ids.push_back(
        static_cast<int32_t>((i * i * 31 + i * 7 + seed * 101) % model.config().vocab_size));
  return ids;
}

inline std::vector<float> alone(const Model& model, const std::vector<int32_t>& ids,
                                size_t chunk = 0) {
  Session session(model, {.context = 256});
  return all_logits(session, ids, chunk);
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

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

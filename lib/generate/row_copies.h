#pragma once
#include <utility>
#include <vector>

#include "lib/model/decoder.h"

namespace octet {

/// Copies of what the head said of a step's rows, which outlive the step.
class RowCopies {
 public:
  /// Does not allocate once as many rows of its kind were kept.
  void keep(int64_t row, const RowLogits& of) {
    if (std::cmp_greater_equal(row, copies_.size())) copies_.resize(static_cast<size_t>(row) + 1);
    Copy& copy = copies_[static_cast<size_t>(row)];
    copy.logits.assign(of.logits.begin(), of.logits.end());
    copy.best.assign(of.best.begin(), of.best.end());
    copy.weights = of.weights;
  }
  RowLogits row(int64_t row) {
    Copy& copy = copies_[static_cast<size_t>(row)];
    return {.logits = copy.logits, .best = copy.best, .weights = copy.weights};
  }

 private:
  struct Copy {
    std::vector<float> logits;  // or the best
    std::vector<TopLogit> best;
    double weights = 0;
  };
  std::vector<Copy> copies_;
};

}  // namespace octet

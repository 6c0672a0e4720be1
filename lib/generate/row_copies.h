#pragma once
#include <algorithm>
#include <type_traits>
#include <vector>

#include "lib/model/decoder.h"

namespace octet {

/// Copies of what the head said of a step's rows, which outlive the step.
class RowCopies {
 public:
  /// of: those of one step are all of one kind and size. Does not allocate once as many were kept.
  void keep(int64_t row, const RowLogits& of) {
    best_size_ = of.best.size();
    if (of.best.empty())
      copy(of.logits, row, logits_);
    else
      copy(of.best, row, best_);
    size_ = std::max(of.logits.size(), best_size_);
  }
  RowLogits row(int64_t row) {
    const size_t first = static_cast<size_t>(row) * size_;
    if (best_size_ > 0) return {{}, std::span(best_).subspan(first, size_)};
    return {std::span(logits_).subspan(first, size_), {}};
  }

 private:
  template <class T>
  static void copy(std::span<T> from, int64_t row, std::vector<std::remove_const_t<T>>& to) {
    const size_t first = static_cast<size_t>(row) * from.size();
    if (to.size() < first + from.size()) to.resize(first + from.size());
    std::copy(from.begin(), from.end(), to.begin() + static_cast<std::ptrdiff_t>(first));
  }

  std::vector<float> logits_;
  std::vector<TopLogit> best_;
  size_t size_ = 0, best_size_ = 0;  // of a row
};

}  // namespace octet

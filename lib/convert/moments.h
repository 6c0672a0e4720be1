#pragma once
#include <span>

#include "lib/core/aligned.h"
#include "lib/core/thread_pool.h"
#include "quant/gptq.h"
#include "quant/rotation.h"

namespace octet {

/// H = sum of x x^T over the inputs of a linear with k channels, in fp32.
class Moments {
 public:
  /// Errors: OutOfMemory.
  explicit Moments(int64_t k);

  /// H += X^T X for X [rows, k], row-major, rows `stride` apart.
  void add(const float* x, int64_t rows, int64_t stride, ThreadPool& pool);

  /// Whether every input was (its squares fit fp32).
  bool finite() const;

  /// Those of the inputs R (s x): scale [k], rotation on each run of its size.
  void transform(std::span<const float> scale, const quant::Rotation& rotation, ThreadPool& pool);

  /// H + 0.01 mean(diagonal) = U D U^T, U unit upper triangular. The damping makes up for inputs
  /// that were seen too seldom: any finite H works, also one of zeros or of fewer inputs than
  /// channels. Uses up H. The result does not depend on the number of threads.
  quant::Feedback factor(ThreadPool& pool) &&;

 private:
  int64_t k_;
  std::vector<float> h_;  // [k, k], tiles on and above the diagonal
};

}  // namespace octet

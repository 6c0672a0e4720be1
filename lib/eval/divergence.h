#pragma once
// How far a model's predictions are from a reference model's.
#include <octet/eval.h>

#include <cstdint>
#include <span>
#include <vector>

namespace octet {

/// Logits [vocab] of one position with what softmax needs of them.
struct Prediction {
  std::span<const float> logits;
  double log_sum;  ///< ln sum exp(logit)
  size_t best;     ///< place of the highest logit, the lowest id of equals

  explicit Prediction(std::span<const float> values);
  /// -ln p(id)
  double nll(size_t id) const { return log_sum - logits[id]; }
};

/// KL(reference || model) of one position, in nats: sum of p (ln p - ln q).
double kl_divergence(const Prediction& reference, const Prediction& model);

/// How many of the reference's five likeliest ids are among the model's, over five (over the
/// vocabulary, where it is smaller).
double top5_overlap(const Prediction& reference, const Prediction& model);

/// Counts of values >= 0 in constant memory, for quantiles that are right within 0.05 %: a bin is
/// the sign, exponent and upper 11 bits of the fraction of an fp32.
class Quantiles {
 public:
  void add(double value);
  /// The value that `share` of all values do not exceed. At least one has been added.
  double at(double share) const;

 private:
  std::vector<int64_t> counts_ = std::vector<int64_t>(size_t{1} << 20);
  int64_t total_ = 0;
};

/// Mean and standard error of values that come one by one (Welford 1962).
class MeanError {
 public:
  void add(double value);
  double mean() const { return mean_; }
  /// Sample standard deviation over the square root of the count; 0 for fewer than two values.
  double standard_error() const;

 private:
  int64_t count_ = 0;
  double mean_ = 0, squares_ = 0;
};

/// What is collected over the scored positions of a model and its reference.
class Divergence {
 public:
  void add(const Prediction& reference, const Prediction& model, size_t target);
  /// At least one position has been added.
  EvalComparison comparison() const;

 private:
  MeanError kl_, top1_, top5_, nll_difference_;
  Quantiles quantiles_;
  double kl_max_ = 0;
};

}  // namespace octet

#include "lib/eval/divergence.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace octet {
namespace {

constexpr int dropped_bits = 12;  // of an fp32's fraction

/// The places of the (up to) five highest logits, the lower id first of equals.
std::vector<size_t> top5(std::span<const float> logits) {
  std::vector<size_t> best;
  for (size_t id = 0; id < logits.size(); ++id) {
    if (best.size() == 5 && logits[id] <= logits[best.back()]) continue;
    const auto at = std::find_if(best.begin(), best.end(),
                                 [&](size_t other) { return logits[id] > logits[other]; });
    best.insert(at, id);
    if (best.size() > 5) best.pop_back();
  }
  return best;
}

}  // namespace

Prediction::Prediction(std::span<const float> values)
    : logits(values),
      best(static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin())) {
  double sum = 0;
  for (float logit : logits) sum += std::exp(static_cast<double>(logit) - logits[best]);
  log_sum = logits[best] + std::log(sum);
}

double kl_divergence(const Prediction& reference, const Prediction& model) {
  double kl = 0;
  for (size_t i = 0; i < model.logits.size(); ++i) {
    const double log_p = reference.logits[i] - reference.log_sum;
    kl += std::exp(log_p) * (log_p - (model.logits[i] - model.log_sum));
  }
  return std::max(kl, 0.0);  // rounding may leave less than nothing
}

double top5_overlap(const Prediction& reference, const Prediction& model) {
  const std::vector<size_t> a = top5(reference.logits), b = top5(model.logits);
  const auto common = std::count_if(
      a.begin(), a.end(), [&](size_t id) { return std::find(b.begin(), b.end(), id) != b.end(); });
  return static_cast<double>(common) / static_cast<double>(a.size());
}

void Quantiles::add(double value) {
  ++counts_[std::bit_cast<uint32_t>(static_cast<float>(value)) >> dropped_bits];
  ++total_;
}

double Quantiles::at(double share) const {
  const auto rank =
      std::max(int64_t{1}, static_cast<int64_t>(std::ceil(share * static_cast<double>(total_))));
  size_t bin = 0;
  for (int64_t below = counts_[0]; below < rank; below += counts_[bin]) ++bin;
  if (bin == 0) return 0;
  constexpr uint32_t half_bin = 1u << (dropped_bits - 1);
  return std::bit_cast<float>((static_cast<uint32_t>(bin) << dropped_bits) + half_bin);
}

void MeanError::add(double value) {
  ++count_;
  const double before = value - mean_;
  mean_ += before / static_cast<double>(count_);
  squares_ += before * (value - mean_);
}

double MeanError::standard_error() const {
  if (count_ < 2) return 0;
  const auto count = static_cast<double>(count_);
  return std::sqrt(squares_ / (count - 1) / count);
}

void Divergence::add(const Prediction& reference, const Prediction& model, size_t target) {
  const double kl = kl_divergence(reference, model);
  kl_.add(kl);
  quantiles_.add(kl);
  kl_max_ = std::max(kl_max_, kl);
  top1_.add(reference.best == model.best ? 1 : 0);
  top5_.add(top5_overlap(reference, model));
  nll_difference_.add(model.nll(target) - reference.nll(target));
}

EvalComparison Divergence::comparison() const {
  EvalComparison c;
  c.kl_mean = kl_.mean();
  c.kl_mean_error = kl_.standard_error();
  c.kl_median = quantiles_.at(0.5);
  c.kl_p99 = quantiles_.at(0.99);
  c.kl_max = kl_max_;
  c.top1_agreement = top1_.mean();
  c.top5_agreement = top5_.mean();
  c.perplexity_ratio = std::exp(nll_difference_.mean());
  c.perplexity_ratio_error = c.perplexity_ratio * nll_difference_.standard_error();
  return c;
}

}  // namespace octet

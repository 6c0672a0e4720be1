#include <octet/sampler.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/core/best_of.h"
#include "lib/core/error.h"
#include "lib/core/logit_scan.h"
#include "lib/core/weight_sum.h"

namespace octet {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr uint64_t pcg_multiplier = 6364136223846793005u;
constexpr uint64_t pcg_increment = 2 * 54 + 1;  // stream 54

// Weights below exp(-50) cannot change a double sum that holds the best's 1: 2^31 of them add
// less than half an ulp.
constexpr double negligible_exponent = -50;

void check_option(bool ok, const char* name, double value, const char* expected) {
  require(ok, ErrorCode::InvalidArgument, "sampler option ", name, " is ", value, ", expected ",
          expected);
}

void check(const SamplerOptions& o) {
  check_option(std::isfinite(o.temperature) && o.temperature >= 0, "temperature", o.temperature,
               "a finite number, at least 0");
  check_option(o.top_k >= 0, "top_k", static_cast<double>(o.top_k), "at least 0");
  check_option(o.top_p > 0 && o.top_p <= 1, "top_p", o.top_p, "above 0, at most 1");
  check_option(o.min_p >= 0 && o.min_p <= 1, "min_p", o.min_p, "from 0 to 1");
  check_option(std::isfinite(o.repetition_penalty) && o.repetition_penalty > 0,
               "repetition_penalty", o.repetition_penalty, "a finite number above 0");
  check_option(std::isfinite(o.presence_penalty), "presence_penalty", o.presence_penalty,
               "a finite number");
  check_option(std::isfinite(o.frequency_penalty), "frequency_penalty", o.frequency_penalty,
               "a finite number");
}

bool has_penalty(const SamplerOptions& o) {
  return o.repetition_penalty != 1 || o.presence_penalty != 0 || o.frequency_penalty != 0;
}

void require_candidate(bool found, size_t vocab) {
  require(found, ErrorCode::InvalidArgument, "none of ", vocab, " logits is above -inf");
}

template <class Scored>
using Best = BestOf<Scored, &Scored::score>;

/// The largest float that is at most value.
float not_above(double value) {
  const auto rounded = static_cast<float>(value);
  return rounded > value ? std::nextafter(rounded, -std::numeric_limits<float>::infinity())
                         : rounded;
}

constexpr auto block = static_cast<int32_t>(logit_block);

/// The largest double below best + offset, so that the best itself is always above it.
double just_below(double best, double offset) {
  return std::nextafter(std::min(best, best + offset), -infinity);
}

/// How many of the weights, the best first, come before their sum reaches least, or is above it.
template <class Scored>
size_t count_until(const std::vector<Scored>& weights, double least, bool above) {
  double sum = 0;
  size_t count = 0;
  while (count < weights.size() && (above ? sum <= least : sum < least))
    sum += weights[count++].score;
  return count;
}

}  // namespace

Sampler::Sampler(const SamplerOptions& options) : options_(options) {
  check(options_);
  next_random();
  state_ += options_.seed;
  next_random();
  if (has_penalty(options_)) seen_.reserve(4096);
}

uint32_t Sampler::next_random() {
  const uint64_t old = state_;
  state_ = old * pcg_multiplier + pcg_increment;
  const auto shifted = static_cast<uint32_t>(((old >> 18) ^ old) >> 27);
  const auto rotation = static_cast<uint32_t>(old >> 59);
  return (shifted >> rotation) | (shifted << (-rotation & 31));
}

Sampler::Seen& Sampler::seen(int32_t id) {
  auto at = std::lower_bound(seen_.begin(), seen_.end(), id,
                             [](const Seen& seen, int32_t wanted) { return seen.id < wanted; });
  if (at == seen_.end() || at->id != id) at = seen_.insert(at, {id, 0});
  return *at;
}

void Sampler::accept_prompt(int32_t id) {
  require(id >= 0, ErrorCode::InvalidArgument, "token id ", id, ", expected at least 0");
  if (has_penalty(options_)) seen(id);
}

void Sampler::accept(int32_t id) {
  require(id >= 0, ErrorCode::InvalidArgument, "token id ", id, ", expected at least 0");
  if (has_penalty(options_)) ++seen(id).generated;
}

double Sampler::penalized(double logit, const Seen& seen) const {
  const double repetition = options_.repetition_penalty;
  logit = logit > 0 ? logit / repetition : logit * repetition;
  if (seen.generated > 0)
    logit -=
        double{options_.presence_penalty} + double{options_.frequency_penalty} * seen.generated;
  return logit;
}

/// Calls take for each id, in rising order, whose logit after the penalties is above floor, which
/// take may raise. NaN is never <= floor, so that the first scan of any logits finds it.
template <class Take>
void Sampler::scan(std::span<const float> logits, const double& floor, Take take) const {
  require(logits.size() <= INT32_MAX, ErrorCode::InvalidArgument, logits.size(),
          " logits, expected at most ", INT32_MAX);
  const auto check_and_take = [&](double logit, int32_t id) {
    if (logit <= floor) return;
    require(logit < infinity, ErrorCode::InvalidArgument, "logit of id ", id, " is ", logit,
            ", expected a finite number or -inf");
    take(Scored{logit, id});
  };
  const auto vocab = static_cast<int32_t>(logits.size());
  int32_t id = 0;
  const auto scan_unseen = [&](int32_t end) {
    float float_floor = not_above(floor);
    while (id < end) {
      if (end - id >= block && !any_above(&logits[id], float_floor)) {
        id += block;
        continue;
      }
      for (const int32_t stop = std::min(end, id + block); id < stop; ++id)
        check_and_take(logits[id], id);
      float_floor = not_above(floor);
    }
  };
  for (const Seen& seen : seen_) {
    if (seen.id >= vocab) break;
    scan_unseen(seen.id);
    check_and_take(penalized(logits[id], seen), id);
    ++id;
  }
  scan_unseen(vocab);
}

Sampler::Scored Sampler::find_best(std::span<const float> logits) const {
  Scored best{-infinity, -1};
  scan(logits, best.score, [&](const Scored& scored) { best = scored; });
  require_candidate(best.id >= 0, logits.size());
  return best;
}

/// scored_ = the top_k highest, best first, from one pass over the logits.
void Sampler::keep_top_k(std::span<const float> logits) {
  scored_.resize(static_cast<size_t>(options_.top_k));
  Best<Scored> kept(scored_);
  double floor = -infinity;
  scan(logits, floor, [&](const Scored& scored) {
    kept.offer(scored);
    if (kept.full()) floor = kept.worst().score;
  });
  scored_.resize(kept.sort());
  require_candidate(!scored_.empty(), logits.size());
}

/// Turns the logits of scored_[begin, end) into weights; returns the sum of them.
double Sampler::weigh(double best, size_t begin, size_t end) {
  best_ = best;
  double sum = 0;
  for (size_t i = begin; i < end; ++i)
    sum += scored_[i].score = std::exp((scored_[i].score - best) / options_.temperature);
  return sum;
}

/// The sum of the whole vocabulary's weights.
double Sampler::add_weights(std::span<const float> logits, double best) const {
  const double temperature = options_.temperature;
  double total = 0;
  scan(logits, just_below(best, temperature * negligible_exponent),
       [&](const Scored& scored) { total += std::exp((scored.score - best) / temperature); });
  return total;
}

/// The same within bounds, a tenth as long.
Sampler::Total Sampler::bound_weights(std::span<const float> logits, double best) const {
  const float temperature = options_.temperature, best_logit = static_cast<float>(best);
  if (double{best_logit} != best || !can_bound_weights(temperature)) {
    const double total = add_weights(logits, best);
    return {total, total};
  }
  double total = 0;
  size_t begin = 0;
  for (const Seen& seen : seen_) {
    const auto id = static_cast<size_t>(seen.id);
    if (id >= logits.size()) break;
    total += weight_sum(logits.subspan(begin, id - begin), best_logit, temperature) +
             std::exp((penalized(logits[id], seen) - best) / temperature);
    begin = id + 1;
  }
  total += weight_sum(logits.subspan(begin), best_logit, temperature);
  return {total * (1 - weight_sum_error), total * (1 + weight_sum_error)};
}

/// scored_ = weights, best first: the fewest (by steps) whose probabilities sum to above `mass`,
/// and of them all that min_p could keep. Those with a probability below (1 - mass) / vocab sum
/// to less than 1 - mass, so they are not needed, and most of the vocabulary is never sorted.
/// Returns the sum of the whole vocabulary's weights.
Sampler::Total Sampler::keep_mass(std::span<const float> logits, double mass) {
  const double temperature = options_.temperature;
  const double best = find_best(logits).score;
  const Total total = bound_weights(logits, best);
  const double least = std::max<double>(options_.min_p, (1 - mass) * total.low / logits.size());
  // Wider by 1e-6 than rounding can matter; top_p and min_p cut exactly later.
  scan(logits, just_below(best, temperature * (std::log(least) - 1e-6)),
       [&](const Scored& scored) { scored_.push_back(scored); });

  double sum = 0;
  size_t sorted = 0;
  while (sorted < scored_.size() && (mass == 1 || sum <= mass * total.high)) {
    const size_t end = mass == 1 ? scored_.size() : std::min(scored_.size(), 4 * sorted + 256);
    const auto first = scored_.begin() + sorted, last = scored_.begin() + end;
    if (last != scored_.end()) std::nth_element(first, last, scored_.end(), Best<Scored>::better);
    std::sort(first, last, Best<Scored>::better);
    sum += weigh(best, sorted, end);
    sorted = end;
  }
  scored_.resize(sorted);
  return total;
}

/// scored_ = what top_k leaves, best first, as weights relative to the best's 1. Without top_k,
/// what neither top_p, min_p nor a draw below `mass` can reach may be left out. Returns the sum
/// of all the weights that top_k leaves.
Sampler::Total Sampler::keep(std::span<const float> logits, double mass) {
  const bool cut_k = options_.top_k > 0 && static_cast<uint64_t>(options_.top_k) < logits.size();
  scored_.clear();
  scored_.reserve(cut_k ? static_cast<size_t>(options_.top_k) : logits.size());
  if (!cut_k) return keep_mass(logits, mass);
  keep_top_k(logits);
  const double total = weigh(scored_.front().score, 0, scored_.size());
  return {total, total};
}

/// How many of scored_, the best first, come before their sum reaches a share of the total, or is
/// above it. Bounds of the total nearly always agree; where they do not, it is added up.
size_t Sampler::first_of(std::span<const float> logits, Total& total, double share,
                         bool above) const {
  const size_t most = count_until(scored_, share * total.high, above);
  if (total.low == total.high || count_until(scored_, share * total.low, above) == most)
    return most;
  total.low = total.high = add_weights(logits, best_);
  return count_until(scored_, share * total.low, above);
}

/// Applies top_p and min_p to the weights in scored_; total becomes the sum of those left.
void Sampler::cut(std::span<const float> logits, Total& total) {
  const auto keep_first = [&](size_t kept) {
    scored_.resize(kept);
    double sum = 0;
    for (const Scored& scored : scored_) sum += scored.score;
    total = {sum, sum};
  };
  if (options_.top_p < 1) keep_first(first_of(logits, total, options_.top_p, false));
  if (options_.min_p > 0) {
    const auto end = std::find_if(scored_.begin(), scored_.end(), [&](const Scored& scored) {
      return scored.score < options_.min_p;
    });
    keep_first(static_cast<size_t>(end - scored_.begin()));
  }
}

std::span<const Candidate> Sampler::candidates(std::span<const float> logits) & {
  result_.clear();
  if (options_.temperature == 0) {
    result_.push_back({find_best(logits).id, 1.0f});
    return result_;
  }
  Total total = keep(logits, options_.top_p);
  cut(logits, total);
  if (total.low < total.high) total.low = add_weights(logits, best_);
  result_.reserve(scored_.capacity());
  for (const Scored& scored : scored_)
    result_.push_back({scored.id, static_cast<float>(scored.score / total.low)});
  return result_;
}

int32_t Sampler::sample(std::span<const float> logits) {
  if (options_.temperature == 0) return find_best(logits).id;
  const double uniform = next_random() * 0x1p-32;
  const bool cuts = options_.top_p < 1 || options_.min_p > 0;
  return draw(logits, uniform, keep(logits, cuts ? options_.top_p : uniform));
}

int64_t Sampler::best_needed() const {
  if (has_penalty(options_)) return 0;
  if (options_.temperature == 0) return 1;
  return options_.top_k <= max_top_logits ? options_.top_k : 0;
}

int64_t Sampler::best_wanted() const {
  if (const int64_t needed = best_needed(); needed > 0) return needed;
  const bool cut = options_.top_k == 0 && (options_.top_p < 1 || options_.min_p > 0);
  return cut && !has_penalty(options_) && can_bound_weights(options_.temperature) ? max_top_logits
                                                                                  : 0;
}

/// scored_ = the weights of the best; total: of all ids. Returns whether they suffice.
bool Sampler::keep_best(std::span<const TopLogit> best, double weights, Total& total) {
  const int64_t needed = best_needed();
  scored_.clear();
  scored_.reserve(best.size());
  for (const TopLogit& one :
       needed > 0 ? best.first(std::min(best.size(), static_cast<size_t>(needed))) : best) {
    if (one.logit == -infinity) break;
    require(std::isfinite(one.logit), ErrorCode::InvalidArgument, "logit of id ", one.id, " is ",
            one.logit, ", expected a finite number or -inf");
    scored_.push_back({one.logit, one.id});
  }
  require_candidate(!scored_.empty(), best.size());
  if (options_.temperature == 0) return true;
  const double sum = weigh(scored_.front().score, 0, scored_.size());
  total = {sum, sum};
  if (needed > 0 || scored_.size() < best.size()) return true;
  total = {std::max(sum, weights * (1 - weight_sum_error)), weights * (1 + weight_sum_error)};
  if (options_.top_p == 1) return scored_.back().score < options_.min_p;
  const size_t kept = count_until(scored_, options_.top_p * total.high, false);
  return kept < scored_.size() && count_until(scored_, options_.top_p * total.low, false) == kept;
}

bool Sampler::suffice(std::span<const TopLogit> best, double weights) {
  Total total{};
  return keep_best(best, weights, total);
}

int32_t Sampler::sample_best(std::span<const TopLogit> best, double weights) {
  Total total{};
  require(best_wanted() > 0 && keep_best(best, weights, total), ErrorCode::InvalidArgument,
          "the best ", best.size(), " logits do not suffice for the sampler's options");
  if (options_.temperature == 0) return scored_.front().id;
  return draw({}, next_random() * 0x1p-32, total);
}

/// total: of the weights in scored_, and of those that were left out.
int32_t Sampler::draw(std::span<const float> logits, double uniform, Total total) {
  cut(logits, total);
  const size_t count = first_of(logits, total, uniform, true);
  // Rounding: the sum in this order may fall short of the total.
  return scored_[std::max<size_t>(count, 1) - 1].id;
}

}  // namespace octet

#pragma once
#include <octet/error.h>
#include <octet/export.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace OCTET_EXPORT octet {

/// How the next token is drawn from the logits. The steps run in this order: penalties, top_k,
/// temperature, top_p, min_p, draw. A value at its neutral setting skips its step.
struct SamplerOptions {
  float temperature = 0.7f;         ///< 0: greedy, the highest logit (the lowest id of equals)
  int64_t top_k = 5;                ///< keep the k highest; 0: all
  float top_p = 1.0f;               ///< keep the fewest whose probabilities sum to at least top_p
  float min_p = 0.0f;               ///< keep those with at least min_p times the best's probability
  float repetition_penalty = 1.0f;  ///< seen ids: logit > 0 divided by it, else multiplied
  float presence_penalty = 0.0f;    ///< subtracted once from each id generated so far
  float frequency_penalty = 0.0f;   ///< subtracted once for each time an id was generated
  uint64_t seed = 0;
};

/// One candidate for the next token.
struct Candidate {
  int32_t id;
  float probability;
};

/// One of the largest logits of a row (step_top()).
struct TopLogit {
  float logit;
  int32_t id;
};
inline constexpr int64_t max_top_logits = 64;

/// Draws tokens. One uniform number u = r / 2^32 a draw, r from PCG32 (XSH RR 64/32, O'Neill
/// 2014, stream 54, seeded with SamplerOptions::seed); the token is the first in the order of
/// candidates() whose cumulative probability is above u. Probabilities are computed and summed in
/// double with std::exp: C libraries differ in its last bit, which moves a draw with a chance
/// near 1e-16, so the same seed, logits and history give the same ids on every machine. Greedy
/// draws take no random number. No allocation once the vocabulary and the number of different
/// ids seen have stopped growing.
class Sampler {
 public:
  /// Errors: InvalidArgument naming the option that is out of range and its value.
  explicit Sampler(const SamplerOptions& options = {});

  /// A token of the prompt (counts for repetition_penalty) or one that was generated (counts for
  /// all penalties). Errors: InvalidArgument for a negative id.
  void accept_prompt(int32_t id);
  void accept(int32_t id);

  /// The candidates that are left after every step, most probable first (of equals the lowest id
  /// first), probabilities summing to 1; valid until the next call. logits [vocab]; ids whose
  /// logit is -infinity are never candidates: that is how to forbid an id.
  /// Errors: InvalidArgument if a logit is NaN or +infinity, or if all are -infinity.
  std::span<const Candidate> candidates(std::span<const float> logits) &;

  /// Draws one of candidates(logits); does not accept() it. Errors: as candidates().
  int32_t sample(std::span<const float> logits);

  /// How many of a row's best logits a draw looks at: 1 if it is greedy, or top_k. 0: all logits,
  /// as without top_k, with penalties, or for more than max_top_logits.
  int64_t best_needed() const;
  /// The same, but max_top_logits also where these nearly always suffice(): where only top_p or
  /// min_p cut.
  int64_t best_wanted() const;
  /// Whether what sample() draws from all logits follows from the best of them, best first: at
  /// least best_wanted(), which is not 0, or all. weights: the sum of exp((logit - best) / T) over
  /// all ids, with a relative error of at most 1e-5; of no matter if best_needed() is not 0.
  bool suffice(std::span<const TopLogit> best, double weights);
  /// Draws it. Errors: InvalidArgument if a logit is NaN or +infinity, if all are -infinity, or if
  /// they do not suffice().
  int32_t sample_best(std::span<const TopLogit> best, double weights = 0);

  const SamplerOptions& options() const { return options_; }

 private:
  struct Seen {
    int32_t id;
    int32_t generated;  // how often it was generated; 0: prompt only
  };
  struct Scored {
    double score;  // the logit after the penalties; then its weight exp((logit - best) / T)
    int32_t id;
  };
  struct Total {
    double low, high;  // of a sum of weights: bounds
  };

  Seen& seen(int32_t id);
  double penalized(double logit, const Seen& seen) const;
  uint32_t next_random();
  template <class Take>
  void scan(std::span<const float> logits, const double& floor, Take take) const;
  Scored find_best(std::span<const float> logits) const;
  void keep_top_k(std::span<const float> logits);
  Total bound_weights(std::span<const float> logits, double best) const;
  double add_weights(std::span<const float> logits, double best) const;
  Total keep_mass(std::span<const float> logits, double mass);
  Total keep(std::span<const float> logits, double mass);
  size_t first_of(std::span<const float> logits, Total& total, double share, bool above) const;
  void cut(std::span<const float> logits, Total& total);
  int32_t draw(std::span<const float> logits, double uniform, Total total);
  bool keep_best(std::span<const TopLogit> best, double weights, Total& total);
  double weigh(double best, size_t begin, size_t end);

  SamplerOptions options_;
  uint64_t state_ = 0;             // of the generator
  std::vector<Seen> seen_;         // sorted by id; empty while no penalty is set
  std::vector<Scored> scored_;     // what the current call has kept
  double best_ = 0;                // logit that the weights are relative to
  std::vector<Candidate> result_;  // what candidates() returns
};

}  // namespace octet

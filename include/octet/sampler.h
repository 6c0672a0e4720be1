#pragma once
#include <octet/error.h>

#include <cstdint>
#include <span>
#include <vector>

namespace octet {

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

/// Draws tokens. The generator is PCG32 (XSH RR 64/32, O'Neill 2014), so the same seed, logits
/// and history give the same ids on every machine.
class Sampler {
 public:
  /// Errors: InvalidArgument naming the option that is out of range.
  explicit Sampler(const SamplerOptions& options = {});

  /// A token of the prompt (counts for repetition_penalty) or one that was generated (counts for
  /// all penalties).
  void accept_prompt(int32_t id);
  void accept(int32_t id);

  /// The candidates that are left after every step, most probable first, probabilities summing
  /// to 1. logits [vocab]; ids whose logit is -infinity are never candidates.
  /// Errors: InvalidArgument if no finite logit is left or one is NaN.
  std::span<const Candidate> candidates(std::span<const float> logits);

  /// Draws one of candidates(logits); does not accept() it.
  int32_t sample(std::span<const float> logits);

  const SamplerOptions& options() const { return options_; }

 private:
  uint32_t next_random();
  struct Seen {
    int32_t id;
    int32_t generated;  // how often it was generated; 0: prompt only
  };
  SamplerOptions options_;
  uint64_t state_;
  std::vector<Seen> seen_;  // sorted by id
  std::vector<float> logits_;
  std::vector<Candidate> candidates_;
};

}  // namespace octet

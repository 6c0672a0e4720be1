#include "lib/generate/logprobs.h"

#include <algorithm>
#include <cmath>

#include "lib/core/best_of.h"

namespace octet {

void fill_logprobs(std::span<const float> logits, int64_t count, GeneratedToken& token) {
  const double best = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += std::exp(logit - best);
  const double total = best + std::log(sum);
  token.logprob = static_cast<float>(logits[static_cast<size_t>(token.id)] - total);

  std::vector<TokenLogprob>& top = token.top;
  top.resize(std::min(static_cast<size_t>(count), logits.size()));
  if (top.empty()) return;
  BestOf<TokenLogprob, &TokenLogprob::logprob> kept(top);
  for (size_t id = 0; id < logits.size(); ++id) kept.offer({static_cast<int32_t>(id), logits[id]});
  kept.sort();
  for (TokenLogprob& one : top) one.logprob = static_cast<float>(one.logprob - total);
}

}  // namespace octet

#include "lib/generate/logprobs.h"

#include <algorithm>
#include <cmath>

namespace octet {

void fill_logprobs(std::span<const float> logits, int64_t count, GeneratedToken& token) {
  const double best = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += std::exp(logit - best);
  const double total = best + std::log(sum);
  token.logprob = static_cast<float>(logits[static_cast<size_t>(token.id)] - total);

  const auto better = [](const TokenLogprob& a, const TokenLogprob& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.id < b.id;
  };
  std::vector<TokenLogprob>& top = token.top;  // a heap, the worst of them first
  const auto most = static_cast<size_t>(count);
  for (size_t id = 0; id < logits.size() && most > 0; ++id) {
    const TokenLogprob found{static_cast<int32_t>(id), logits[id]};
    if (top.size() == most) {
      if (!better(found, top.front())) continue;
      std::pop_heap(top.begin(), top.end(), better);
      top.pop_back();
    }
    top.push_back(found);
    std::push_heap(top.begin(), top.end(), better);
  }
  std::sort_heap(top.begin(), top.end(), better);
  for (TokenLogprob& one : top) one.logprob = static_cast<float>(one.logprob - total);
}

}  // namespace octet

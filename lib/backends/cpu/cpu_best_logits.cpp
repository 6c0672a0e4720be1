// A step's end: the best logits of its rows, and the sums of all weights.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "lib/backends/cpu/cpu_backend.h"
#include "lib/core/best_of.h"
#include "lib/core/logit_scan.h"
#include "lib/core/weight_sum.h"

namespace octet {
namespace {

using BestLogits = BestOf<TopLogit, &TopLogit::logit>;

/// One of `parts` of a row of logits, and its first id.
struct LogitPart {
  LogitPart(const float* row, int64_t vocab, int64_t part, int64_t parts)
      : first_id(vocab * part / parts), logits(row + first_id, row + vocab * (part + 1) / parts) {}

  int64_t first_id;
  std::span<const float> logits;
};

/// best = the highest logits, best first; of equal ones the lowest id. first_id: of logits[0].
void find_best(std::span<const float> logits, int32_t first_id, std::span<TopLogit> best) {
  BestLogits kept(best);
  for (size_t i = 0; i < logits.size(); ++i) {
    while (kept.full() && i + logit_block <= logits.size() &&
           !any_above(&logits[i], kept.worst().logit))
      i += logit_block;
    if (i < logits.size()) kept.offer({logits[i], first_id + static_cast<int32_t>(i)});
  }
  std::fill(best.begin() + static_cast<std::ptrdiff_t>(kept.sort()), best.end(),
            TopLogit{-INFINITY, -1});
}

}  // namespace

StepResult CpuBackend::finish(int64_t first, int64_t logit_rows) {
  const int64_t top = batch_->top, vocab = config_.vocab_size;
  if (top == 0) return {workspace_.logits, nullptr, nullptr, vocab, -1};
  // Fewer rows than threads are searched in parts of at least `top` logits, so that no thread falls
  // asleep.
  const int64_t most = pool_.threads() / std::max<int64_t>(1, logit_rows);
  const int64_t parts = std::max<int64_t>(1, std::min(most, vocab / top));
  best_.resize(static_cast<size_t>(logit_rows * parts * top));
  for (int64_t row = 0; row < logit_rows; ++row)
    for (const int32_t id : left_out_) workspace_.logits[row * vocab + id] = -INFINITY;
  pool_.for_each(logit_rows * parts, [&](int64_t item, int) {
    const LogitPart part(workspace_.logits + item / parts * vocab, vocab, item % parts, parts);
    find_best(part.logits, static_cast<int32_t>(part.first_id),
              {best_.data() + item * top, static_cast<size_t>(top)});
  });
  if (parts > 1)
    for (int64_t row = 0; row < logit_rows; ++row) {
      TopLogit* const best = best_.data() + row * parts * top;
      std::partial_sort(best, best + top, best + parts * top, BestLogits::better);
    }
  const float* const weights =
      batch_->temperatures.empty() ? nullptr : add_weights(first, logit_rows, parts);
  return {nullptr, best_.data(), weights, parts * top, -1};
}

/// StepResult::weights, of rows whose best is known.
const float* CpuBackend::add_weights(int64_t first, int64_t logit_rows, int64_t parts) {
  const int64_t vocab = config_.vocab_size, stride = parts * batch_->top;
  part_weight_sums_.resize(static_cast<size_t>(logit_rows * parts));
  pool_.for_each(logit_rows * parts, [&](int64_t item, int) {
    const int64_t row = item / parts;
    const LogitPart part(workspace_.logits + row * vocab, vocab, item % parts, parts);
    const float best = best_[static_cast<size_t>(row * stride)].logit;
    const float temperature = batch_->temperatures[static_cast<size_t>(first + row)];
    part_weight_sums_[static_cast<size_t>(item)] =
        temperature > 0 && std::isfinite(best) ? weight_sum(part.logits, best, temperature) : 0;
  });
  weight_sums_.clear();
  for (auto part = part_weight_sums_.begin(); part != part_weight_sums_.end(); part += parts)
    weight_sums_.push_back(static_cast<float>(std::accumulate(part, part + parts, 0.0)));
  return weight_sums_.data();
}

}  // namespace octet

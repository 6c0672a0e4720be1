#include "lib/convert/assignment.h"

#include <optional>

namespace octet {
namespace {

/// What a linear may become, in rising order of cost: one int8 plane with a scale a channel or a
/// group, two planes, fp16.
enum Level { single, grouped, doubled, f16, levels };

/// In shares of the linear's own multiplications and bytes; a byte more for each decoded token
/// counts as four multiplications of a prompt's. A model whose scales are all those of groups reads
/// 3 % more and is 7 % slower in prefill (docs/performance.md). fp16 comes last, whatever it saves:
/// it is multiplied as fp32, read twice as wide, and needs its input in a further form.
constexpr double cost_of[levels] = {0, 0.07 + 4 * 0.03, 1, 100};

struct Step {
  size_t linear;
  Level level;
  double saves, rate;
};

class Search {
 public:
  Search(std::span<const LinearSensitivity> linears, double kl)
      : linears_(linears), level_(linears.size(), single) {
    for (const LinearSensitivity& linear : linears) {
      weights_ += static_cast<double>(linear.weights);
      sum_ += linear.kl;
    }
    // Errors of many linears neither add up exactly nor cancel.
    scale_ = sum_ > 0 ? kl / sum_ : 0;
  }

  /// What saves the most for its cost; none if nothing saves anything.
  std::optional<Step> best() const {
    std::optional<Step> best;
    for (size_t i = 0; i < linears_.size(); ++i)
      for (int next = level_[i] + 1; next < levels; ++next) {
        const Level level = static_cast<Level>(next);
        const double saves = kl(i, level_[i]) - kl(i, level);
        const double share = static_cast<double>(linears_[i].weights) / weights_;
        const double rate = saves / (share * (cost_of[level] - cost_of[level_[i]]));
        if (saves > 0 && (!best || rate > best->rate)) best = Step{i, level, saves, rate};
      }
    return best;
  }
  void take(const Step& step) { level_[step.linear] = step.level; }
  Level level(size_t linear) const { return level_[linear]; }

 private:
  double kl(size_t linear, Level level) const {
    const LinearSensitivity& l = linears_[linear];
    const double own[levels] = {l.kl, l.kl_grouped, l.kl_two_planes, 0};
    return scale_ * own[level];
  }

  std::span<const LinearSensitivity> linears_;
  std::vector<Level> level_;
  double weights_ = 0, sum_ = 0, scale_ = 0;
};

}  // namespace

Assignment assign(std::span<const LinearSensitivity> linears, double kl, double budget) {
  Search search(linears, kl);
  Assignment result;
  result.expected_kl = kl;
  while (result.expected_kl > budget) {
    const std::optional<Step> step = search.best();
    if (!step) break;
    search.take(*step);
    result.expected_kl -= step->saves;
  }
  for (size_t i = 0; i < linears.size(); ++i) {
    const std::string name = weight_name(linears[i].kind, linears[i].layer);
    if (search.level(i) == grouped) result.grouped.insert(name);
    if (search.level(i) == doubled) result.two_planes.insert(name);
    if (search.level(i) == f16) result.f16.insert(name);
  }
  return result;
}

}  // namespace octet

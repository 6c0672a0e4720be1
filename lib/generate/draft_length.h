#pragma once
#include <octet/model.h>

#include <array>
#include <cstdint>

namespace octet {

/// The time that one more row adds to a step that evaluates one row at this depth, as a share of
/// it. An estimate that errs on the high side, from what was measured (docs/performance.md).
double extra_row_cost(const Model& model, int64_t depth);

/// How many ids to draft: what makes the most tokens a time, by the share of drafted ids that
/// turned out right so far, each length of match for itself.
class DraftLength {
 public:
  /// Whether the next id after a match of this length was right, drafted or not.
  void observe(int64_t match, bool right);
  /// 0 to most; 0 where a draft is not likely to gain anything.
  int64_t choose(int64_t match, double row_cost, int64_t most) const;

 private:
  static size_t group(int64_t match);
  /// Shares of right ids after 2, 3, 4 to 7, and 8 or more ids that agree.
  std::array<double, 4> right_ = {0.2, 0.3, 0.5, 0.8};
};

}  // namespace octet

#pragma once
// How an engine's steps are kept about equally long, so that answers get their tokens at even
// times: rows of prompts that a step takes beside answers, and tokens held back where that is
// short.
#include <cstdint>

namespace octet {

/// A step takes as long as one without prompts, and c seconds more for each of their rows. So steps
/// of T seconds each end `missing` rows in `left` seconds if left = missing c + (left / T) plain.
///
/// T is chosen when prompts come and then changes slowly; the rows of each step follow from it and
/// from what a row costs now: few rows wait with the answers' for the weights and cost less, those
/// at the end of a long prompt cost more, for attention.
class StepPace {
 public:
  struct Limits {
    double prompt_seconds = 10;  ///< that a prompt is spread over
    int64_t least_rows = 8;      ///< of prompts in a step
    int64_t most_rows = 96;      ///< of prompts in a step
    bool steady = false;         ///< tokens of shorter steps are held back
  };
  explicit StepPace(const Limits& limits) : limits_(limits) {}

  /// Rows of prompts for the next step, which has answers. Of all prompts that are there `missing`
  /// rows are to be evaluated; the newest came `since` seconds ago.
  int64_t rows(int64_t missing, double since);

  /// Takes in what a step took. Returns the seconds to hold its tokens back: 0 but for `steady`.
  double after(int64_t answers, int64_t rows, double seconds);

  /// Nothing runs any more: what was asked of steps is forgotten, what they cost is not.
  void idle() { step_seconds_ = 0; }

 private:
  void learn(int64_t rows, double seconds);
  double time_for(int64_t missing, double left) const;

  const Limits limits_;
  double step_seconds_ = 0;      // T
  double plain_seconds_ = 0;     // of a step without prompts, smoothed
  double row_seconds_ = 0;       // c of the latest steps; 0: not known yet
  double mean_row_seconds_ = 0;  // c of some prompts
  int64_t learned_ = 0;          // rows in the mean
  bool chosen_ = false;          // T, for the prompts that are there
};

}  // namespace octet

#include "lib/generate/step_pace.h"

#include <algorithm>
#include <cmath>

namespace octet {
namespace {

/// Of the time that prompts are spread over: when their end is aimed at, for what else may come,
/// and the least that T is chosen for, lest the last few rows that are late make steps long.
constexpr double aim = 0.9, least_left = 0.15;
/// Of a new value in what is smoothed over some steps.
constexpr double latest_plain = 0.1, latest_row = 0.3;
/// Rows after which the mean of a row's cost forgets: a few long prompts.
constexpr int64_t mean_rows = 4000;
/// Of a step's limit of rows, what its time is chosen for at most: cheap rows may be more.
constexpr double usual_rows = 2.0 / 3;
/// Of a step's time, what rows are planned for.
constexpr double filled = 0.95;
/// T rises by this a step when prompts would end late, and falls with this time constant where
/// steps are shorter.
constexpr double rise = 1.04;
constexpr double fall_seconds = 60;
/// A prompt that needs steps so much longer gets them at once.
constexpr double jump = 1.3;

}  // namespace

double StepPace::time_for(int64_t missing, double left) const {
  const double most =
      plain_seconds_ + usual_rows * static_cast<double>(limits_.most_rows) * mean_row_seconds_;
  const double spare = left - static_cast<double>(missing) * mean_row_seconds_;
  return (spare > 0 ? std::min(most, left * plain_seconds_ / spare) : most) / filled;
}

int64_t StepPace::rows(int64_t missing, double since) {
  if (row_seconds_ == 0) return limits_.least_rows;
  const double left = aim * limits_.prompt_seconds - since;
  const double needed = time_for(missing, std::max(left, least_left * limits_.prompt_seconds));
  if (!chosen_ && needed > jump * step_seconds_)
    step_seconds_ = needed;
  else
    step_seconds_ = std::max(step_seconds_, std::min(needed, rise * step_seconds_));
  chosen_ = true;
  // No more than end in time, and no more than fit.
  const double enough =
      std::ceil(static_cast<double>(missing) * step_seconds_ / std::max(left, 0.001));
  const double fit = (filled * step_seconds_ - plain_seconds_) / row_seconds_;
  return std::clamp(static_cast<int64_t>(std::min(enough, fit)), limits_.least_rows,
                    limits_.most_rows);
}

void StepPace::learn(int64_t rows, double seconds) {
  if (rows < limits_.least_rows) return;  // the end of a prompt
  // Times vary by more than a few rows cost.
  const double least = 0.01 * seconds / static_cast<double>(rows);
  const double row = std::max(least, (seconds - plain_seconds_) / static_cast<double>(rows));
  row_seconds_ += (row_seconds_ == 0 ? 1 : latest_row) * (row - row_seconds_);
  learned_ = std::min(learned_ + rows, mean_rows);
  mean_row_seconds_ +=
      (row - mean_row_seconds_) * static_cast<double>(rows) / static_cast<double>(learned_);
}

double StepPace::after(int64_t answers, int64_t rows, double seconds) {
  if (rows == 0 || answers == 0) chosen_ = false;
  if (answers == 0) return 0;
  if (plain_seconds_ == 0 || seconds < plain_seconds_)
    plain_seconds_ = seconds;
  else if (rows == 0)
    plain_seconds_ += latest_plain * (seconds - plain_seconds_);
  if (rows > 0) learn(rows, seconds);
  if (rows == 0 && !limits_.steady) {
    step_seconds_ = seconds;
    return 0;
  }
  const double early = step_seconds_ - seconds;
  if (early < 0) {
    // More answers, or a slower machine; a step with more rows takes fewer next time.
    if (rows <= limits_.least_rows) step_seconds_ -= 0.1 * early;
    return 0;
  }
  step_seconds_ -= early * std::min(1.0, step_seconds_ / fall_seconds);
  return limits_.steady ? early : 0;
}

}  // namespace octet

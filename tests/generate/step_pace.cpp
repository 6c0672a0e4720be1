// Steps of an engine on a machine that is made up: what StepPace makes of its times.
#include "lib/generate/step_pace.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

using octet::StepPace;

namespace {

/// Streams, and prompts in between, on a machine whose memory has a fast and a slow phase.
struct Machine {
  int64_t streams = 4;
  double every = 10;  ///< seconds between prompts; 0: none
  int64_t prompt = 2000;
  double row = 0.0035;        ///< seconds of a row,
  double attention = 0.0017;  ///< and of one at the end of 2000 positions besides
  double weights = 0.045;     ///< seconds of reading the weights, in fast phases
  uint32_t seed = 7;
  double seconds = 120;

  std::vector<double> gaps = {};     ///< seconds between tokens, sorted
  std::vector<double> prompts = {};  ///< seconds from start to end
  double waited = 0;

  void run(StepPace& pace) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform(0, 1);
    std::vector<double> began, done;
    double now = 0, next = every > 0 ? 0 : 1e9, slow = 1;
    pace.after(0, 64, 64 * row);  // the streams' own prompts
    while (now < seconds) {
      for (; next <= now; next += every) began.push_back(next), done.push_back(0);
      if (uniform(random) < 0.02) slow = uniform(random) < 0.5 ? 1 : 1.35;
      double missing = 0;
      for (double position : done) missing += static_cast<double>(prompt) - position;
      int64_t rows = 0;
      if (missing > 0) rows = pace.rows(static_cast<int64_t>(missing), now - began.back());
      rows = std::min(rows, static_cast<int64_t>(missing));
      double cost = static_cast<double>(streams) * row, rest = static_cast<double>(rows);
      for (double& position : done) {
        const double part = std::min(rest, static_cast<double>(prompt) - position);
        cost += part * (row + attention * (position + part / 2) / 2000);
        position += part, rest -= part;
      }
      const double step = std::max(weights * slow, cost) * (0.95 + 0.1 * uniform(random));
      const double wait = pace.after(streams, rows, step);
      waited += wait;
      now += step + wait;
      if (now > 40) gaps.push_back(step + wait);
      while (!done.empty() && done.front() >= static_cast<double>(prompt)) {
        prompts.push_back(now - began.front());
        began.erase(began.begin()), done.erase(done.begin());
      }
    }
    std::sort(gaps.begin(), gaps.end());
  }
  double quantile(double share) const {
    return gaps[static_cast<size_t>(share * static_cast<double>(gaps.size() - 1))];
  }
};

}  // namespace

TEST_CASE("step pace: steady steps lie within 15 % of their median, whatever comes in between") {
  int within = 0, all = 0;
  for (uint32_t seed : {1, 2, 3})
    for (int64_t streams : {4, 8})
      for (double every : {0.0, 10.0})
        for (double row : {0.001, 0.0025, 0.0032, 0.0035, 0.0038}) {
          StepPace pace({.steady = true});
          Machine machine{.streams = streams, .every = every, .row = row, .seed = seed};
          machine.run(pace);
          CHECK(machine.waited < 0.25 * machine.seconds);
          const double median = machine.quantile(0.5);
          ++all;
          within +=
              machine.quantile(0.05) > 0.85 * median && machine.quantile(0.95) < 1.15 * median;
          // At 3.5 ms a row and 1.7 ms for attention there is not time enough for all.
          if (row < 0.0035)
            for (double prompt : machine.prompts) CHECK(prompt < 13);
        }
  // Where the machine's phase changes just as a prompt ends, it can be more.
  CHECK(within >= 0.85 * all);
}

TEST_CASE("step pace: otherwise steps never wait, and prompts end in time all the same") {
  StepPace pace({});
  Machine machine{.row = 0.0032};
  machine.run(pace);
  CHECK(machine.waited == 0);
  CHECK(machine.prompts.size() >= 8);
  for (double prompt : machine.prompts) CHECK(prompt < 11);
}

TEST_CASE("step pace: a short prompt hardly disturbs") {
  StepPace pace({.steady = true});
  Machine machine{.every = 30, .prompt = 100};
  machine.run(pace);
  CHECK(machine.quantile(1) < 2.0 * 0.045 * 1.35);
}

TEST_CASE("step pace: idle forgets how long steps were") {
  StepPace pace({.steady = true});
  Machine machine;
  machine.run(pace);
  CHECK(pace.after(1, 0, 0.045) > 0.05);
  pace.idle();
  CHECK(pace.after(1, 0, 0.045) == 0);
}

TEST_CASE("step pace: limits of rows hold, and unknown costs mean few") {
  StepPace pace({.least_rows = 3, .most_rows = 10});
  CHECK(pace.rows(5000, 8) == 3);
  pace.after(1, 3, 0.1);
  CHECK(pace.rows(5000, 9) == 6);  // two thirds of the most, so that cheaper ones may be more
  for (int i = 0; i < 20; ++i) pace.after(1, 6, 0.07);
  CHECK(pace.rows(5000, 9) == 10);
  CHECK(pace.rows(1, 0) >= 3);
}

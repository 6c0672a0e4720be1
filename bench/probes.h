#pragma once
// What the kernels' benchmarks share: the machine's peaks, measured in the same run.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <ctime>
#include <map>
#include <string>
#include <utility>

#include "tests/kernels/rows.h"

namespace octet::bench {

inline benchmark::Counter rate(double amount) {
  return {amount, benchmark::Counter::kIsIterationInvariantRate};
}

template <class Body>
void add(const std::string& name, Body body) {
  benchmark::RegisterBenchmark(name.c_str(), body);
}

/// The best of ten runs of `work`, which returns what it did: amount per second of processor time,
/// as Google Benchmark's rates.
template <class Work>
double best_rate(Work work) {
  double best = 0;
  for (int i = 0; i < 10; ++i) {
    const std::clock_t start = std::clock();
    const auto amount = static_cast<double>(work());
    best = std::max(best, amount * CLOCKS_PER_SEC / static_cast<double>(std::clock() - start));
  }
  return best;
}

/// The variant of `op` that a table up to `isa` uses.
template <class Function>
Function of_isa(const char* op, kernels::Isa isa) {
  Function found = nullptr;
  kernels::Isa best = kernels::Isa::ref;
  for (const auto& row : kernels::runnable_rows<Function>(op))
    if (row.isa <= isa && row.isa >= best) found = row.function, best = row.isa;
  return found;
}

/// Operations a second of a probe, "peak_int8" or "peak_fp32", on one thread.
inline double peak(const char* probe, kernels::Isa isa) {
  static std::map<std::pair<std::string, kernels::Isa>, double> known;
  const auto [at, first] = known.try_emplace({probe, isa}, 0);
  if (first)
    at->second = best_rate([function = of_isa<kernels::PeakFunction>(probe, isa)] {
      return function(uint64_t{1} << 21);
    });
  return at->second;
}

}  // namespace octet::bench

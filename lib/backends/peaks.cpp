// Measuring what the CPU can do at most.
#include <octet/device.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "lib/core/aligned.h"
#include "lib/core/cpu.h"
#include "lib/core/thread_pool.h"
#include "lib/model/model_impl.h"

namespace octet {
namespace {

constexpr uint64_t read_buffer_bytes = uint64_t{1} << 30;
constexpr uint64_t read_piece_bytes = uint64_t{1} << 22;
constexpr int repetitions = 5;

/// The best of some repetitions of work(), which returns what it did: amount per second.
template <class Work>
double best_rate(Work work) {
  double best = 0;
  for (int i = 0; i < repetitions; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const auto amount = static_cast<double>(work());
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    best = std::max(best, amount / time.count());
  }
  return best;
}

/// Operations of all threads together, each running the probe once.
uint64_t run_probe(ThreadPool& pool, kernels::PeakFunction probe, uint64_t iterations) {
  std::atomic<uint64_t> operations{0};
  pool.for_each(pool.threads(), [&](int64_t, int) { operations += probe(iterations); });
  return operations;
}

/// Iterations that take about 20 ms.
uint64_t calibrate(kernels::PeakFunction probe) {
  uint64_t iterations = 1024;
  for (;; iterations *= 2) {
    const auto start = std::chrono::steady_clock::now();
    probe(iterations);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    if (time.count() > 0.02) return iterations;
  }
}

}  // namespace

Peaks measure_peaks(int threads) {
  const kernels::Table& table = active_kernels();
  ThreadPool pool(thread_count(threads));
  const uint64_t int8_iterations = calibrate(table.peak_int8);
  const uint64_t fp32_iterations = calibrate(table.peak_fp32);
  Peaks peaks;
  peaks.int8_ops_per_second =
      best_rate([&] { return run_probe(pool, table.peak_int8, int8_iterations); });
  peaks.fp32_ops_per_second =
      best_rate([&] { return run_probe(pool, table.peak_fp32, fp32_iterations); });

  const AlignedBuffer<std::byte> buffer(read_buffer_bytes);
  const int64_t pieces = read_buffer_bytes / read_piece_bytes;
  // Written by the threads that read it: the memory is really there, and near.
  pool.for_each(pieces, [&](int64_t i, int) {
    std::memset(buffer.data() + static_cast<uint64_t>(i) * read_piece_bytes, 1, read_piece_bytes);
  });
  std::atomic<uint64_t> sum{0};
  peaks.read_bytes_per_second = best_rate([&] {
    pool.for_each(pieces, [&](int64_t i, int) {
      sum += table.read_sum(buffer.data() + static_cast<uint64_t>(i) * read_piece_bytes,
                            read_piece_bytes);
    });
    return read_buffer_bytes;
  });
  return peaks;
}

}  // namespace octet

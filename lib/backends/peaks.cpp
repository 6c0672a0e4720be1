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
constexpr int repetitions = 2;

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

struct PeakProbe::Impl {
  const kernels::Table& table;
  ThreadPool pool;
  uint64_t int8_iterations, fp32_iterations;
  AlignedBuffer<std::byte> buffer;

  explicit Impl(int threads)
      : table(active_kernels()),
        pool(thread_count(threads)),
        int8_iterations(calibrate(table.peak_int8)),
        fp32_iterations(calibrate(table.peak_fp32)),
        buffer(read_buffer_bytes) {
    // Written by the threads that read it: the memory is really there, and near.
    each_piece([](std::byte* piece) { std::memset(piece, 1, read_piece_bytes); });
  }

  template <class Visit>
  void each_piece(Visit visit) {
    pool.for_each(read_buffer_bytes / read_piece_bytes, [&](int64_t i, int) {
      visit(buffer.data() + static_cast<uint64_t>(i) * read_piece_bytes);
    });
  }
};

PeakProbe::PeakProbe(int threads) : impl_(new Impl(threads)) {}
PeakProbe::~PeakProbe() {
  delete impl_;
}

Peaks PeakProbe::measure() {
  Impl& p = *impl_;
  Peaks peaks;
  peaks.int8_ops_per_second =
      best_rate([&] { return run_probe(p.pool, p.table.peak_int8, p.int8_iterations); });
  peaks.fp32_ops_per_second =
      best_rate([&] { return run_probe(p.pool, p.table.peak_fp32, p.fp32_iterations); });
  std::atomic<uint64_t> sum{0};
  peaks.read_bytes_per_second = best_rate([&] {
    p.each_piece([&](const std::byte* piece) { sum += p.table.read_sum(piece, read_piece_bytes); });
    return read_buffer_bytes;
  });
  return peaks;
}

}  // namespace octet

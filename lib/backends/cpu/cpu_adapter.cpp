// Adapters of the CPU backend: y += up (scale * (down x)) for the rows of sequences that have one.
#include <algorithm>
#include <thread>

#include "lib/backends/cpu/cpu_backend.h"
#include "lib/model/adapter_impl.h"

namespace octet {
namespace {

using kernels::project_rows;

/// Of weights, beside which `up` stays in the second-level cache.
constexpr int64_t most_cached_bytes = 512 * 1024;

/// Rows of x that stay in the cache while a thread's ranks pass.
constexpr int64_t rows_at_once = 32;

}  // namespace

/// Plans scale * (down x) for each task and adapter. Threads compute it as they come to the linears
/// (help_project()): a loop of its own would have all of them wait for each other once more, which
/// costs a decoding step about as much as reading the factors.
void CpuBackend::plan_projections(std::span<const LinearTask> tasks) {
  projections_.clear();
  projection_units_ = 0;
  int64_t size = 0;
  for (const LinearTask& task : tasks)
    for (const AdaptedRows& rows : adapted_rows_) {
      const AdaptedLinear* linear = rows.adapter->find(task.weight->linear);
      if (!linear) continue;
      const int64_t blocks = (rows.count + rows_at_once - 1) / rows_at_once;
      const int64_t units = blocks * linear->rank / project_rows;
      projections_.push_back({&task, linear, rows.first, rows.count, size, units});
      size += rows.count * linear->rank;
      projection_units_ += units;
    }
  if (static_cast<int64_t>(projected_.size()) < size)
    projected_ = AlignedBuffer<float>(static_cast<size_t>(size));
  ++projection_plan_;
}

/// Each thread first does its own part, for which it waits for no other core: a line that another
/// has written takes it 180 ns where they share no cache.
void CpuBackend::help_project(size_t part) {
  if (projections_.empty()) return;
  std::atomic<uint64_t>& begun = projection_parts_[part].begun;
  uint64_t last = begun.load(std::memory_order_relaxed);
  if (last == projection_plan_ || !begun.compare_exchange_strong(last, projection_plan_)) return;
  project(part);
  projection_parts_[part].done.store(projection_plan_, std::memory_order_release);
}

/// Equal shares of all units in the order of the tasks, whose `down` follow each other in memory:
/// of few rows each share is one stream.
void CpuBackend::project(size_t part) {
  const auto index = static_cast<int64_t>(part);
  int64_t begin = projection_units_ * index / pool_.threads();
  int64_t end = projection_units_ * (index + 1) / pool_.threads();
  for (const Projection& p : projections_) {
    for (int64_t unit = std::max<int64_t>(begin, 0); unit < std::min(end, p.units); ++unit)
      project(p, unit);
    begin -= p.units;
    end -= p.units;
  }
}

void CpuBackend::project(const Projection& p, int64_t unit) {
  const int64_t k = workspace_.x.k, rank = p.linear->rank, groups = rank / project_rows;
  const int64_t first = unit / groups * rows_at_once, j = unit % groups * project_rows;
  for (int64_t row = first; row < std::min(first + rows_at_once, p.rows); ++row) {
    float t[project_rows];
    table_.project_f16_f32({k, workspace_.x.f32 + (p.first_row + row) * k,
                            p.linear->down + j * kernels::padded_n(k), t});
    for (int64_t i = 0; i < project_rows; ++i)
      projected_.data()[p.begin + row * rank + j + i] =
          t[i] * p.linear->scale[static_cast<size_t>(j + i)];
  }
}

/// Asks for the part of `up` that some columns will need, of which there is too little for the
/// processor's own prefetching. Large pieces have more, which would not stay in the cache while
/// their weights pass.
void CpuBackend::bring_projections(const Columns& c) const {
  if ((c.end - c.begin) * c.task->weight->k > most_cached_bytes) return;
  for (const Projection& p : projections_) {
    if (p.task != c.task) continue;
    const uint16_t* const up = p.linear->up;
    for (int64_t i = c.begin * p.linear->rank; i < c.end * p.linear->rank; i += 32)
      __builtin_prefetch(up + i, 0, 2);
  }
}

/// Parts of threads that are late are computed here. What is begun ends soon: whoever computes it
/// waits for nobody.
void CpuBackend::await_projections() {
  for (size_t part = 0; part < projection_parts_.size(); ++part) {
    const std::atomic<uint64_t>& done = projection_parts_[part].done;
    if (done.load(std::memory_order_acquire) == projection_plan_) continue;
    help_project(part);
    while (done.load(std::memory_order_acquire) != projection_plan_) std::this_thread::yield();
  }
}

/// up of it, onto columns that are computed.
void CpuBackend::add_projections(const Columns& c) {
  if (projections_.empty()) return;
  await_projections();
  for (const Projection& p : projections_) {
    if (p.task != c.task) continue;
    const int64_t rank = p.linear->rank;
    const int64_t end = std::min(p.first_row + p.rows, c.first_row + c.rows);
    for (int64_t row = std::max(p.first_row, c.first_row); row < end; ++row)
      table_.low_rank_f16_f32({c.end - c.begin, rank,
                               projected_.data() + p.begin + (row - p.first_row) * rank,
                               p.linear->up + c.begin * rank, c.out + (row - c.first_row) * c.ldc});
  }
}

}  // namespace octet

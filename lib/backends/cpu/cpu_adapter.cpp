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

/// Rows of x that one thread takes at a time for down x.
constexpr int64_t rows_at_once = 32;

/// Ranks that one thread takes at a time: all threads get a part, and each part is as long a stream
/// of memory as it can be, since each begins with a wait.
int64_t ranks_at_once(int64_t rank, int threads) {
  const int64_t part = (rank + threads - 1) / threads;
  return (part + project_rows - 1) / project_rows * project_rows;
}

}  // namespace

/// Plans scale * (down x) for each task and adapter. Threads compute it as they come to the linears
/// (help_project()): a loop of its own would have all of them wait for each other once more, which
/// costs a decoding step about as much as reading the factors.
void CpuBackend::plan_projections(std::span<const LinearTask> tasks) {
  projections_.clear();
  projection_items_.clear();
  int64_t size = 0;
  for (const LinearTask& task : tasks)
    for (const AdaptedRows& rows : adapted_rows_) {
      const AdaptedLinear* linear = rows.adapter->find(task.weight->linear);
      if (!linear) continue;
      projections_.push_back({&task, linear, rows.first, rows.count, size});
      size += rows.count * linear->rank;
      const size_t index = projections_.size() - 1;
      const int64_t ranks = ranks_at_once(linear->rank, pool_.threads());
      for (int64_t row = 0; row < rows.count; row += rows_at_once)
        for (int64_t rank = 0; rank < linear->rank; rank += ranks)
          projection_items_.push_back({index, row, rank, std::min(rank + ranks, linear->rank)});
    }
  if (static_cast<int64_t>(projected_.size()) < size)
    projected_ = AlignedBuffer<float>(static_cast<size_t>(size));
  next_projection_.store(0, std::memory_order_relaxed);
  projections_done_.store(0, std::memory_order_relaxed);
}

void CpuBackend::project(const ProjectionItem& item) {
  const Projection& p = projections_[item.projection];
  const int64_t k = workspace_.x.k, rank = p.linear->rank;
  const int64_t end_row = std::min(item.row + rows_at_once, p.rows);
  for (int64_t j = item.begin_rank; j < item.end_rank; j += project_rows)
    for (int64_t row = item.row; row < end_row; ++row) {
      float* const t = projected_.data() + p.begin + row * rank + j;
      table_.project_f16_f32({k, workspace_.x.f32 + (p.first_row + row) * k,
                              p.linear->down + j * kernels::padded_n(k), t});
      for (int64_t i = 0; i < project_rows; ++i)
        t[i] *= p.linear->scale[static_cast<size_t>(j + i)];
    }
}

/// Computes what no thread has begun.
void CpuBackend::help_project() {
  const size_t items = projection_items_.size();
  if (next_projection_.load(std::memory_order_relaxed) >= items) return;
  for (size_t i; (i = next_projection_.fetch_add(1, std::memory_order_relaxed)) < items;) {
    project(projection_items_[i]);
    projections_done_.fetch_add(1, std::memory_order_release);
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

/// What is begun ends soon: whoever computes it waits for nobody.
void CpuBackend::await_projections() const {
  while (projections_done_.load(std::memory_order_acquire) < projection_items_.size())
    std::this_thread::yield();
}

/// up of it, onto columns that are computed.
void CpuBackend::add_projections(const Columns& c) {
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

// Adapters of the CPU backend: y += up (scale * (down x)) for the rows of sequences that have one.
#include <algorithm>
#include <thread>

#include "lib/backends/cpu/cpu_backend.h"
#include "lib/model/adapter_impl.h"

namespace octet {
namespace {

/// What one thread computes at a time of down x.
constexpr int64_t ranks_at_once = 4, rows_at_once = 32;

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
      for (int64_t row = 0; row < rows.count; row += rows_at_once)
        for (int64_t rank = 0; rank < linear->rank; rank += ranks_at_once)
          projection_items_.push_back({index, row, rank});
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
  const int64_t end_rank = std::min(item.rank + ranks_at_once, rank);
  for (int64_t row = item.row; row < end_row; ++row)
    for (int64_t j = item.rank; j < end_rank; ++j)
      projected_[static_cast<size_t>(p.begin + row * rank + j)] =
          p.linear->scale[static_cast<size_t>(j)] *
          table_.dot_f16_f32(p.linear->down.data() + j * k,
                             workspace_.x.f32 + (p.first_row + row) * k, k);
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
/// processor's own prefetching.
void CpuBackend::bring_projections(const Columns& c) const {
  for (const Projection& p : projections_) {
    if (p.task != c.task) continue;
    const uint16_t* const up = p.linear->up.data();
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
      table_.low_rank_f16_f32(
          {c.end - c.begin, rank, projected_.data() + p.begin + (row - p.first_row) * rank,
           p.linear->up.data() + c.begin * rank, c.out + (row - c.first_row) * c.ldc});
  }
}

}  // namespace octet

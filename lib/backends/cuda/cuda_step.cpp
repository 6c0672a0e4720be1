#include "lib/backends/cuda/cuda_step.h"

#include <algorithm>
#include <cstring>

namespace octet::cuda {

using kernels::cuda::AttentionTile;
using kernels::cuda::ceil_div;
using kernels::cuda::StepRow;

CudaStep::CudaStep(const ModelConfig& config, int64_t max_rows, bool exact,
                   const kernels::cuda::Queue& queue)
    : half_(config.head_dim / 2),
      kv_heads_(config.num_kv_heads),
      group_(config.num_heads / config.num_kv_heads),
      split_groups_(kernels::cuda::split_groups(queue.architecture, queue.shared_bytes)),
      exact_query_rows_(exact ? kernels::cuda::exact_query_rows(queue.shared_bytes) : 0),
      multiprocessors_(queue.multiprocessors),
      has_prefill_(exact || kernels::cuda::has_prefill_attention(config.head_dim)),
      warpgroups_(kernels::cuda::by_warpgroups(config.head_dim, queue)) {
  // A chunk has at least a row, and a tile's last queries may be missing in each chunk.
  const int64_t query_rows = exact ? exact_query_rows_ : kernels::cuda::min_prefill_query_rows;
  const int64_t max_tiles = max_rows + ceil_div(max_rows * group_, query_rows);
  StepView unused;
  const int64_t bytes = place(nullptr, max_rows, max_rows, max_tiles, unused);
  device_memory_ = DeviceMemory(bytes, "the buffers of a step");
  host_memory_ = PinnedMemory(bytes);
}

int64_t CudaStep::place(std::byte* base, int64_t rows, int64_t chunks, int64_t tiles,
                        StepView& view) const {
  int64_t at = 0;
  const auto part = [&](auto*& pointer, int64_t count) {
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(base + at);
    at = ceil_div(at + count * static_cast<int64_t>(sizeof *pointer), 16) * 16;
  };
  part(view.first_bad, 1);
  part(view.turns, rows);
  part(view.rows, rows);
  part(view.logit_rows, rows);
  part(view.split_rows, rows);
  part(view.temperatures, rows);
  part(view.frequencies, chunks * (half_ + 1));
  part(view.tiles, tiles);
  return at;
}

bool CudaStep::is_split(const Chunk& chunk) const {
  return chunk.rows <= kernels::cuda::max_split_rows || !has_prefill_;
}

/// Of its last row.
int64_t CudaStep::splits_of(const Chunk& chunk) const {
  const int64_t positions = chunk.first_position + chunk.rows;
  return exact_query_rows_ > 0 ? kernels::cuda::launched_spans(positions)
                               : kernels::cuda::launched_splits(positions, split_groups_);
}

/// table: the sequence's, on the device.
void CudaStep::add_chunk(const Chunk& chunk, int64_t index, std::byte* const* table,
                         const Batch& batch, StepView& host) {
  const auto i32 = [](int64_t value) { return static_cast<int32_t>(value); };
  float* frequency = host.frequencies + index * (half_ + 1);
  std::copy_n(chunk.rope->inv_freq.begin(), half_, frequency);
  frequency[half_] = chunk.rope->attention_factor;
  const bool split = is_split(chunk);
  for (int64_t i = 0; i < chunk.rows; ++i) {
    const int64_t row = chunk.first_row + i;
    host.rows[row] = {batch.ids[static_cast<size_t>(row)], i32(chunk.first_position + i),
                      i32(index), i32(chunk.first_position), table};
    if (split) host.split_rows[split_rows_++] = i32(row);
  }
  if (split) {
    launched_splits_ = std::max(launched_splits_, splits_of(chunk));
    return;
  }
  for (int64_t query = 0; query < chunk.rows * group_; query += query_rows_)
    host.tiles[tiles_++] = {i32(chunk.first_row), i32(chunk.rows), i32(query),
                            i32(chunk.first_position)};
}

bool CudaStep::has_tables_of(const Batch& batch) const {
  int64_t first = 0;
  for (const Chunk& chunk : batch.chunks) {
    const std::span<KvBlock* const> blocks = chunk.cache->blocks();
    std::byte* const* entry = host_tables_.as<std::byte*>() + first;
    first += chunk.cache->max_blocks();
    if (first > table_capacity_) return false;
    for (const KvBlock* block : blocks)
      if (*entry++ != block->data) return false;
  }
  return true;
}

void CudaStep::send_tables(const Batch& batch, cudaStream_t stream) {
  if (has_tables_of(batch)) return;
  // For the whole contexts at once: a growing sequence must not allocate, nor move the others.
  int64_t needed = 0;
  for (const Chunk& chunk : batch.chunks) needed += chunk.cache->max_blocks();
  if (needed > table_capacity_) {
    const int64_t bytes = needed * static_cast<int64_t>(sizeof(std::byte*));
    device_tables_ = DeviceMemory(bytes, "the tables of KV blocks");
    host_tables_ = PinnedMemory(bytes);
    std::memset(host_tables_.as<void>(), 0, static_cast<size_t>(bytes));
    table_capacity_ = needed;
  }
  int64_t first = 0;
  for (const Chunk& chunk : batch.chunks) {
    std::byte** entry = host_tables_.as<std::byte*>() + first;
    for (const KvBlock* block : chunk.cache->blocks()) *entry++ = block->data;
    first += chunk.cache->max_blocks();
  }
  check(cudaMemcpyAsync(device_tables_.as<void>(), host_tables_.as<void>(),
                        static_cast<size_t>(first) * sizeof(std::byte*), cudaMemcpyHostToDevice,
                        stream),
        "sending a step");
}

void CudaStep::plan(const Batch& batch, cudaStream_t stream) {
  rows_ = batch.rows();
  split_rows_ = tiles_ = launched_splits_ = 0;
  const auto chunks = static_cast<int64_t>(batch.chunks.size());
  StepView host;
  place(host_memory_.as<std::byte>(), rows_, chunks, 0, host);
  int64_t queries = 0;
  for (const Chunk& chunk : batch.chunks)
    if (!is_split(chunk)) queries += chunk.rows * group_;
  const bool by_warpgroups = warpgroups_ && batch.chunks[0].cache->type() == KvCacheType::f16;
  query_rows_ = exact_query_rows_ > 0 ? exact_query_rows_
                                      : kernels::cuda::prefill_query_rows(
                                            queries, kv_heads_, multiprocessors_, by_warpgroups);
  *host.first_bad = kernels::cuda::none_bad;
  turn_ = 0;
  std::fill_n(host.turns, rows_, turn_);
  send_tables(batch, stream);
  std::byte** table = device_tables_.as<std::byte*>();
  for (int64_t i = 0; i < chunks; ++i) {
    const Chunk& chunk = batch.chunks[static_cast<size_t>(i)];
    add_chunk(chunk, i, table, batch, host);
    table += chunk.cache->max_blocks();
  }
  std::copy(batch.logit_rows.begin(), batch.logit_rows.end(), host.logit_rows);
  std::copy(batch.temperatures.begin(), batch.temperatures.end(), host.temperatures);
  temperatures_.assign(batch.temperatures.begin(), batch.temperatures.end());
  single_rows_ = chunks == rows_;
  chunks_.clear();
  if (single_rows_) chunks_.assign(batch.chunks.begin(), batch.chunks.end());
  repeatable_ = tiles_ == 0 && static_cast<int64_t>(batch.logit_rows.size()) == rows_;
  bytes_ =
      place(device_memory_.as<std::byte>(), rows_, tiles_ > 0 ? chunks : rows_, tiles_, device_);
  if (temperatures_.empty()) device_.temperatures = nullptr;
}

void CudaStep::send(cudaStream_t stream) {
  check(cudaMemcpyAsync(device_memory_.as<void>(), host_memory_.as<void>(),
                        static_cast<size_t>(bytes_), cudaMemcpyHostToDevice, stream),
        "sending a step");
}

int64_t CudaStep::next_launched_splits() const {
  int64_t splits = 0;
  for (Chunk chunk : chunks_) {
    ++chunk.first_position;
    splits = std::max(splits, splits_of(chunk));
  }
  return splits;
}

bool CudaStep::is_followed_by(const Batch& batch, const kernels::cuda::Candidate* best) const {
  if (!repeatable_ || chunks_.size() != batch.chunks.size() || batch.rows() != rows_ ||
      std::ssize(batch.logit_rows) != rows_ ||
      !std::equal(batch.temperatures.begin(), batch.temperatures.end(), temperatures_.begin(),
                  temperatures_.end()))
    return false;
  for (size_t i = 0; i < chunks_.size(); ++i) {
    const Chunk &before = chunks_[i], &chunk = batch.chunks[i];
    if (chunk.cache != before.cache || chunk.rope != before.rope || !chunk.adapters.empty() ||
        chunk.first_position != before.first_position + 1 ||
        batch.ids[i] != best[i * kernels::cuda::max_top].id)
      return false;
  }
  return !chunks_.empty();
}

bool CudaStep::has_room_behind(const Batch& batch) const {
  return std::all_of(batch.chunks.begin(), batch.chunks.end(), [](const Chunk& chunk) {
    return chunk.first_position + chunk.rows <
           std::ssize(chunk.cache->blocks()) * kernels::kv_block;
  });
}

void CudaStep::follow(const Batch& batch, cudaStream_t stream) {
  send_tables(batch, stream);
  launched_splits_ = next_launched_splits();
  chunks_.assign(batch.chunks.begin(), batch.chunks.end());
  turn_ ^= 1;
}

}  // namespace octet::cuda

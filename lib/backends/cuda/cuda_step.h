#pragma once
// What a step's kernels read besides weights and activations: written on the host, sent at once.
#include <span>
#include <vector>

#include "kernels/cuda/kernels.h"
#include "lib/backends/cuda/cuda_memory.h"
#include "lib/model/backend.h"

namespace octet::cuda {

/// The device's pointers to the parts of one step.
struct StepView {
  int32_t* first_bad;
  int32_t* turns;  ///< [rows]: kernels::cuda::Top
  kernels::cuda::StepRow* rows;
  int32_t* logit_rows;
  int32_t* split_rows;  ///< rows that are attended one by one
  float* frequencies;   ///< [chunks][head_dim / 2 + 1]
  float* temperatures;  ///< of the logit rows (Batch::temperatures); null: none
  kernels::cuda::AttentionTile* tiles;
};

class CudaStep {
 public:
  /// Errors: OutOfMemory.
  CudaStep(const ModelConfig& config, int64_t max_rows, bool exact,
           const kernels::cuda::Queue& queue);

  /// Plans a step, whose predecessor must have ended, and sends its tables. send() follows.
  void plan(const Batch& batch, cudaStream_t stream);
  /// Starts to send it.
  void send(cudaStream_t stream);

  /// Whether the batch is the step behind the planned one, which kernels::cuda::top() puts into its
  /// place: the same sequences, a row each, of these ids [rows][max_top].
  bool is_followed_by(const Batch& batch, const kernels::cuda::Candidate* best) const;
  /// Whether the device has the pointers to all blocks of the batch's sequences.
  bool has_tables_of(const Batch& batch) const;
  /// Whether caches have a place for that step's positions.
  bool has_room_behind(const Batch& batch) const;
  /// Plans that step. Nothing but its tables is sent, if they have changed.
  void follow(const Batch& batch, cudaStream_t stream);

  const StepView& view() const { return device_; }
  int64_t rows() const { return rows_; }
  int64_t split_rows() const { return split_rows_; }
  int64_t tiles() const { return tiles_; }
  /// Of a tile.
  int64_t query_rows() const { return query_rows_; }
  /// Of the longest row that is attended by itself; of exact attention, launched spans.
  int64_t launched_splits() const { return launched_splits_; }
  /// Of the step that follows.
  int64_t next_launched_splits() const;
  /// Which of kernels::cuda::Top's results are the step's.
  int turn() const { return turn_; }
  /// Whether no sequence has several rows.
  bool single_rows() const { return single_rows_; }
  /// Whether the launches depend only on the numbers above: rows that are attended one by one, and
  /// logits for each.
  bool repeatable() const { return repeatable_; }

 private:
  /// The parts' places for this many rows and chunks; returns the bytes up to the tiles' end.
  int64_t place(std::byte* base, int64_t rows, int64_t chunks, int64_t tiles, StepView& view) const;
  /// Whether its rows are attended one by one.
  bool is_split(const Chunk& chunk) const;
  void add_chunk(const Chunk& chunk, int64_t index, std::byte* const* table, const Batch& batch,
                 StepView& host);
  int64_t splits_of(const Chunk& chunk) const;
  void send_tables(const Batch& batch, cudaStream_t stream);

  int64_t half_;  // of a head
  int64_t kv_heads_;
  int64_t group_;  // query heads of a kv head
  int split_groups_;
  int64_t exact_query_rows_;  // of a tile; 0: attention is not exact
  int multiprocessors_;
  bool has_prefill_;
  bool warpgroups_;  // attend to fp16 caches
  DeviceMemory device_memory_;
  PinnedMemory host_memory_;
  /// For each chunk, pointers to its cache's blocks; sent only if they have changed.
  DeviceMemory device_tables_;
  PinnedMemory host_tables_;
  int64_t table_capacity_ = 0;
  StepView device_{};
  int64_t bytes_ = 0;  // to send
  int64_t rows_ = 0, split_rows_ = 0, tiles_ = 0, query_rows_ = 0, launched_splits_ = 0;
  bool single_rows_ = false, repeatable_ = false;
  int turn_ = 0;
  std::vector<Chunk> chunks_;  // of the step, if it has single rows
  std::vector<float> temperatures_;
};

}  // namespace octet::cuda

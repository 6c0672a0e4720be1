#pragma once
// The CPU backend: kernels from the table, work shared out over the model's thread pool by
// output, never along K, so that results do not depend on the number of threads.
#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/table.h"
#include "lib/core/aligned.h"
#include "lib/core/thread_pool.h"
#include "lib/model/adapted_rows.h"
#include "lib/model/backend.h"

namespace octet {

struct AdaptedLinear;

class CpuBackend : public Backend {
  /// Items for each thread that leave it at most a tenth of the time idle at the end.
  static constexpr int64_t items_per_thread = 4;
  /// Rows of a step of which each thread, or some of them, compute their own part.
  static constexpr int64_t int8_rows = 128;

 public:
  /// Buffers for up to max_rows rows a step. scheme: the model's; in an int8 one, matrices of a
  /// float scheme are multiplied so that a row's result depends on that row alone.
  /// Errors: OutOfMemory.
  CpuBackend(const ModelConfig& config, Scheme scheme, int64_t max_rows,
             const kernels::Table& table, ThreadPool& pool);

  const Workspace& workspace() const override { return workspace_; }
  const char* device() const override { return "cpu"; }
  const char* instruction_set() const override { return kernels::name(table_.isa); }
  KvMemory& kv_memory() override { return host_kv_memory(); }
  int threads() const override { return pool_.threads(); }
  void leave_out(std::span<const int32_t> ids) override {
    left_out_.assign(ids.begin(), ids.end());
  }

  void start(const Batch& batch) override;
  void embed(const Matrix& table) override;
  bool norm(const float* weight, const std::span<const int64_t>* rows, int64_t rotation,
            const InputForms& forms) override;
  void linear(std::span<const LinearTask> tasks, kernels::Store store,
              const Matrix* following) override;
  bool rotate_and_cache(int64_t layer, const float* q_norm, const float* k_norm) override;
  bool attention(int64_t layer, const InputForms& forms) override;
  bool gate_up(const LinearTask& gate, const LinearTask& up, int64_t rotation,
               const InputForms& forms, const Matrix* following) override;
  void read_hidden(const float* weight, float* out) override;
  StepResult finish(int64_t first, int64_t logit_rows) override;
  std::span<float> all_logits(int64_t row) override {
    return {workspace_.logits + row * config_.vocab_size, static_cast<size_t>(config_.vocab_size)};
  }

 private:
  /// Buffers that belong to one thread of the pool.
  struct Scratch {
    AlignedBuffer<float> row;          // one row before it is quantized
    AlignedBuffer<float> copy;         // of a row that is quantized in two ways
    AlignedBuffer<int8_t> int8_row;    // of the embedding, of x before it is packed, a key or value
    AlignedBuffer<float> queries;      // rows of one attention item, gathered
    AlignedBuffer<float> partial;      // their result
    AlignedBuffer<float> scores;       // the attention kernel's own
    AlignedBuffer<uint16_t> half_row;  // one key as fp16
    AlignedBuffer<int16_t> int16_row;  // one key or value
    AlignedBuffer<float> panel;        // f16 scheme: weights as fp32
    AlignedBuffer<float> gate_up;      // columns of gate's and up's products
    std::vector<int64_t> lengths;
    std::vector<const void*> key_blocks, value_blocks, next_keys;
  };
  /// Tokens of one sequence and one kv head with its query heads.
  struct HeadTokens {
    const Chunk* chunk;
    int64_t first, count;  // tokens within the chunk
    int64_t kv_head;
  };
  /// The unit that attention is shared out by: all positions of some tokens, or one span of them.
  struct AttentionItem {
    HeadTokens tokens;
    int64_t first_position, end_position;
    int64_t partial;  // where in partials_ the result goes; -1: straight to the output
  };
  /// Results of spans that are to be merged: `parts` from partials_[partial] on, each `stride`
  /// values after the one before.
  struct MergeItem {
    HeadTokens tokens;
    int64_t partial, parts, stride;
  };

  void allocate(int64_t max_rows);
  void plan_cache(const Batch& batch);
  void plan_attention(const Batch& batch);
  int64_t tokens_per_item(const Batch& batch) const;
  int64_t attention_parts() const;
  void rotate(float* head, const float* norm, int64_t row);
  /// Row `row` of x from `k` fp32 values, which it uses up.
  bool store_activation(float* values, int64_t row, int thread);
  bool store_planes(float* values, int64_t row, bool grouped, int thread);
  void leave_rest(float* values, const int8_t* q, const float* scale, bool grouped) const;
  void set_activations(int64_t rows, int64_t k, const InputForms& forms, float* values);
  Plane plane(bool grouped, int index);
  /// Rows of work that takes about a microsecond each to hand out at once: with one at a time, many
  /// threads would mostly wait for the pool's counter.
  int64_t rows_per_item(int64_t rows) const;
  int64_t linear_parts(int64_t rows) const;
  kernels::ActivationLayout layout(int64_t rows) const;
  int64_t row_parts(int64_t rows) const;
  const float* add_weights(int64_t first, int64_t logit_rows, int64_t parts);
  void each_row(int64_t rows, FunctionRef<void(int64_t row, int thread)> work);
  void reserve_lists();
  void plan_next_keys(int64_t index, int64_t layer, Scratch& scratch) const;
  bool cache_tokens(const HeadTokens& tokens, int64_t layer, const float* k_norm, Scratch& scratch);
  template <class T>
  bool cache_integers(const float* k, const float* v, int64_t slot, std::byte* keys,
                      std::byte* values, T* row) const;
  void attend(const AttentionItem& item, int64_t layer, Scratch& scratch);
  void merge(const HeadTokens& tokens, const float* partial, int64_t parts, int64_t stride);

  /// Columns [begin, end) of a linear, for some rows; through OpenBLAS for all of them. In tiles
  /// first_row is a multiple of kernels::activation_rows.
  struct Columns {
    const LinearTask* task;
    int64_t first_row, rows;
    int64_t begin, end;
    kernels::Store store;
    float* out;  ///< column `begin` of first_row
    int64_t ldc;
    const int8_t* next;  ///< weights that the same thread will likely need after these, or null
  };
  void multiply(const Columns& c, int thread);
  void multiply_base(const Columns& c, Scratch& scratch);
  void multiply_int8(const Columns& c);
  void multiply_plane(const Columns& c, const Plane& x, const float* bias, kernels::Store store,
                      const int8_t* next);
  void multiply_dots(const Columns& c);
  void multiply_f32(const Columns& c);
  void multiply_f16(const Columns& c, Scratch& scratch);

  /// What an adapter does to one linear: its projections lie in projected_ from `begin` on. They
  /// are computed in units of some rows and ranks.
  struct Projection {
    const LinearTask* task;
    const AdaptedLinear* linear;
    int64_t first_row, rows;
    int64_t begin, units;
  };
  /// A thread's share of the projections of a linear, in a cache line of its own.
  struct alignas(64) ProjectionPart {
    std::atomic<uint64_t> begun{0}, done{0};  // the number of the plan for which it last was
  };
  void plan_projections(std::span<const LinearTask> tasks);
  void help_project(size_t part);
  void project(size_t part);
  void project(const Projection& p, int64_t unit);
  void bring_projections(const Columns& c) const;
  void await_projections();
  void add_projections(const Columns& c);

  /// A linear's columns as items: first large ones, then smaller and smaller.
  struct ColumnItems {
    struct Run {
      int64_t items, columns;  ///< so many of so many columns each
    };
    int64_t n;  ///< the last item ends here
    Run runs[3];
    int64_t count() const { return runs[0].items + runs[1].items + runs[2].items; }
    int64_t begin(int64_t item) const {
      int64_t column = 0;
      for (const Run& run : runs) {
        const int64_t whole = std::min(item, run.items);
        column += whole * run.columns;
        item -= whole;
      }
      return std::min(column, n);
    }
  };
  ColumnItems column_items(const Matrix& w) const;
  /// One item of columns for one part of the rows, and the item that its thread likely takes next;
  /// as many as there are: none.
  struct PartItem {
    int64_t item, next;
    int64_t first_row, rows;
  };
  /// Where an item of several linears is: in which, and which of its.
  struct ItemPlace {
    size_t linear;
    int64_t item;
  };
  static int64_t count(std::span<const ColumnItems> linears);
  static ItemPlace place(std::span<const ColumnItems> linears, int64_t item);
  int64_t share(int64_t items, int64_t thread) const;
  int64_t deal(std::span<const ColumnItems> linears);
  void each_dealt_item(std::span<const ColumnItems> linears,
                       FunctionRef<void(const PartItem&, int thread)> work);
  void each_part(std::span<const ColumnItems> linears,
                 FunctionRef<void(const PartItem&, int thread)> work);
  int64_t columns_per_item(int64_t n, int64_t k) const;
  int64_t last_columns(int64_t small, int64_t k) const;
  /// The weights from item `item` of a linear on, or null.
  static const int8_t* item_weights(const Matrix& w, const ColumnItems& items, int64_t item);
  void bring_closer(const Matrix* following, int thread);
  float* gate_up_scratch(Scratch& scratch, int64_t columns);

  const ModelConfig& config_;
  Scheme scheme_;
  const kernels::Table& table_;
  ThreadPool& pool_;
  Workspace workspace_{};
  float* gate_ = nullptr;  // [rows, intermediate_size], then SiLU(gate) * up
  int64_t max_rows_;
  AlignedBuffer<float> floats_;
  AlignedBuffer<float> cos_, sin_;  // [rows, head_dim / 2]
  AlignedBuffer<float> normed_;     // x as fp32 after a norm
  struct PlaneBuffers {
    AlignedBuffer<int8_t> s8;
    AlignedBuffer<float> scale;
  };
  PlaneBuffers planes_[2][2];          // x for w8a8, and for w8a8-g128
  int64_t tile_turn_ = 0;              // counts the inputs of linears in a step
  const void* weights_ = nullptr;      // some that the last step has read
  std::optional<bool> single_stream_;  // known once pages of the weights are in memory
  std::vector<Scratch> scratch_;
  std::vector<ColumnItems> items_;       // of the linears at work
  std::vector<int64_t> dealt_;           // deal()
  std::vector<HeadTokens> cache_items_;  // each within one block of positions
  std::vector<AttentionItem> attention_items_;
  std::vector<MergeItem> merge_items_;
  std::vector<TopLogit> best_;  // [logit rows][Batch::top]
  std::vector<double> part_weight_sums_;
  std::vector<float> weight_sums_;  // [logit rows]
  std::vector<int32_t> left_out_;
  AlignedBuffer<float> partials_;
  std::vector<AdaptedRows> adapted_rows_;
  std::vector<Projection> projections_;
  int64_t projection_units_ = 0;  // of all projections
  uint64_t projection_plan_ = 0;
  std::vector<ProjectionPart> projection_parts_;  // one for each thread
  AlignedBuffer<float> projected_;
  const Batch* batch_ = nullptr;
};

}  // namespace octet

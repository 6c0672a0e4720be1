#pragma once
// The CUDA backend. Its operations put kernels into a stream and return; finish() waits. Norms and
// quantizations are put off until the multiplication that reads them, which does them itself where
// rows are few. Steps whose launches repeat (decoding) are recorded once as a CUDA graph. While
// they follow the best ids of those before (greedy generation), the next one is launched before the
// host has read this one's.
#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <optional>

#include "kernels/cuda/kernels.h"
#include "lib/backends/cuda/cuda_graph.h"
#include "lib/backends/cuda/cuda_memory.h"
#include "lib/backends/cuda/cuda_step.h"
#include "lib/backends/cuda/cuda_top.h"
#include "lib/backends/cuda/cuda_weights.h"
#include "lib/model/adapted_rows.h"
#include "lib/model/backend.h"

namespace octet::cuda {

/// Caches in a device's memory.
class DeviceKvMemory : public KvMemory {
 public:
  /// done: steps, one of which may be under way without being wanted.
  DeviceKvMemory(int index, std::span<const Event> done) : index_(index), done_(done) {}
  /// How often something was put into it by other than steps.
  int64_t writes() const { return writes_; }
  /// Kernels find a block's parts one after the other.
  int64_t blocks_per_slab() const override { return 1; }
  std::byte* take(int64_t bytes, int64_t positions) override;
  void give_back(std::byte* memory, int64_t bytes) noexcept override;
  void discard(std::byte*, int64_t) noexcept override {}
  void copy(std::byte* to, const std::byte* from, int64_t bytes) override;
  void read(std::byte* host, const std::byte* from, int64_t bytes) override;
  void write(std::byte* to, const std::byte* host, int64_t bytes) override;

 private:
  void transfer(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind);
  int index_;
  std::span<const Event> done_;
  std::atomic<int64_t> writes_ = 0;
};

class CudaBackend : public Backend {
 public:
  /// Errors: as make_cuda_backend().
  CudaBackend(int index, const ModelConfig& config, int64_t max_rows, bool exact,
              const Weights& weights, Progress progress);
  ~CudaBackend() override;

  const Weights& weights() const { return weights_->view(); }

  const Workspace& workspace() const override { return workspace_; }
  const char* device() const override { return name_.c_str(); }
  const char* instruction_set() const override { return architecture_.c_str(); }
  int threads() const override { return 1; }
  void leave_out(std::span<const int32_t> ids) override;
  KvMemory& kv_memory() override { return kv_memory_; }
  std::unique_ptr<DeviceAdapter> prepare(const AdapterImpl& adapter) override;

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
  std::span<float> all_logits(int64_t row) override;

 private:
  /// Rows, single rows or not, launched splits, Batch::top, temperatures or none.
  using GraphKey = std::array<int64_t, 5>;

  void allocate(int64_t max_rows);
  int64_t max_width() const;
  void allocate_halves();
  void allocate_gate_up();
  kernels::cuda::Heads heads(int64_t layer) const;
  kernels::cuda::HeadRows head_rows() const;
  int64_t stride_of(const float* buffer) const;
  void quantize_later(const float* values, int64_t stride, int64_t k, const float* norm,
                      int64_t rotation, const int32_t* rows, int planes);
  void multiply(const CudaMatrix& weight, float* out, int64_t out_stride,
                kernels::cuda::Output output);
  void multiply_f16(const CudaMatrix& weight, float* out, int64_t out_stride,
                    kernels::cuda::Output output);
  void multiply_int8(const CudaMatrix& weight, float* out, int64_t out_stride,
                     kernels::cuda::Output output);
  kernels::cuda::HalfRows half_rows(int64_t k);
  bool is_adapted(const Matrix& matrix) const;
  void adapt(const Matrix& matrix, float* out, int64_t out_stride, int64_t step);
  void gate_up_apart(const LinearTask& gate, const LinearTask& up);
  bool follow(const Batch& batch);
  GraphKey graph_key(int64_t launched_splits) const;
  const Graph* find_graph(int64_t launched_splits) const;
  void launch(const Graph& graph, int turn);
  void launch_ahead();
  void select_best(int64_t first, int64_t logit_rows);
  StepResult best_of_step() const;
  StepResult finish_all(int64_t logit_rows);
  bool link(const kernels::cuda::Linear& linear, const kernels::cuda::RowSource& source);
  bool begins_chain(const kernels::cuda::Linear& linear) const;
  void attend_in_chain(kernels::cuda::SplitAttention task);
  void launch_chain();
  void attend_rows(kernels::cuda::SplitAttention task);
  void allocate_exact();
  void attend_exactly(int64_t layer, float scale);
  const float* norm_exactly(const float* weight, const int32_t* row_list);
  bool wants_peaks() const;
  int64_t peak_words() const;
  uint32_t* next_peaks();
  bool int8_cache() const;

  int index_;
  std::string name_;
  const ModelConfig& config_;
  int64_t max_rows_;
  bool exact_;          // ModelOptions::exact
  OnDevice on_device_;  // while the backend is made
  Stream stream_;
  Event done_[2];  // a step by graph of this turn
  DeviceKvMemory kv_memory_;
  std::string architecture_;
  kernels::cuda::Queue queue_;
  std::optional<CudaWeights> weights_;
  CudaStep step_;
  Workspace workspace_{};
  DeviceMemory floats_;
  float *angles_ = nullptr, *gated_ = nullptr;
  int64_t hidden_stride_, qkv_stride_, attention_stride_, gated_stride_, logits_stride_;
  DeviceMemory quantized_, scales_, partial_;
  DeviceMemory exact_partial_;  // of exact attention's rows
  int64_t exact_words_ = 0;     // of these
  DeviceMemory exact_normed_;   // [rows][hidden_stride_]
  /// What blocks of a chain wait for, behind the partial results, all missing between steps.
  struct Awaited {
    float *qkv, *attention, *hidden;
    uint32_t* readers;
  } awaited_{};
  DeviceMemory halves_,
      half_scales_;            // of inputs of fp16 weights and adapters, once there are some
  bool halves_ready_ = false;  // they hold input_
  DeviceMemory gate_up_;       // [rows][2 gated_stride_], once it is needed
  DeviceMemory projected_;     // of adapters: [rows][projected_stride_]
  int64_t projected_stride_ = 0;
  std::vector<AdaptedRows> adapted_rows_;
  std::optional<TopMemory> top_;
  DeviceMemory left_out_;
  bool best_found_ = false;  // by the last multiplication (kernels::cuda::Linear::best)
  PinnedMemory logits_;      // [logit_group][logits_stride_]
  const Batch* batch_ = nullptr;
  std::optional<kernels::cuda::RowSource> input_;  // of the next multiplication, not quantized yet
  std::optional<kernels::cuda::RowChain> chain_;   // of operations that are put off
  int64_t input_rows_ = 0;
  DeviceMemory peaks_;      // RowSource::peaks of a step's inputs, in turn
  int64_t used_peaks_ = 0;  // of these
  DeviceMemory row_peaks_;  // the same of one row, and Linear::slice_sums
  DeviceMemory slice_sums_;
  const uint32_t* gated_peaks_ = nullptr;              // of what gate and up gave, or null
  int64_t gated_peak_words_ = 0;                       // of a row
  bool gated_rotated_ = false;                         // then its magnitudes are not known
  const float *q_norm_ = nullptr, *k_norm_ = nullptr;  // of the layer
  kernels::cuda::FiniteCheck cache_check_{};           // of what goes into an int8 cache
  int32_t quantizations_ = 0;                          // of this step
  std::map<GraphKey, Graph> graphs_;
  std::optional<Recording> recording_;
  bool replaying_ = false;
  /// What the step behind the last one must have, as the device holds it: Batch::top, and the
  /// writes to caches until then.
  struct Followed {
    int64_t top, writes;
  };
  std::optional<Followed> followed_;
  int64_t in_a_row_ = 0;  // steps that followed
  bool ahead_ = false;    // the step behind the last one is under way
};

}  // namespace octet::cuda

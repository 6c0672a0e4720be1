#pragma once
// What a device must be able to do to run the decoder: about ten coarse, fused operations over
// buffers in its own memory.
#include <octet/function_ref.h>
#include <octet/session.h>

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>

#include "kernels/types.h"
#include "lib/model/kv_cache.h"
#include "lib/model/rope.h"
#include "lib/model/weights.h"

namespace octet {

struct AdapterImpl;

/// An adapter's matrices in the memory of a device.
struct DeviceAdapter {
  virtual ~DeviceAdapter() = default;
};

/// Consecutive tokens of one sequence inside a batch.
struct Chunk {
  KvCache* cache;
  const Rope* rope;
  int64_t first_row;  ///< in the batch
  int64_t rows;
  int64_t first_position;  ///< of the sequence; everything before it is in the cache
  /// What is added to the model's linears for these rows.
  std::span<const AdapterImpl* const> adapters = {};
};

/// One ragged step: any mix of prompt chunks and single tokens of different sequences.
struct Batch {
  std::span<const int32_t> ids;         ///< [rows]
  std::span<const Chunk> chunks;        ///< cover the rows in order
  std::span<const int64_t> logit_rows;  ///< rows whose logits are wanted, rising
  int64_t top = 0;  ///< of these the best so many, without the ids left out; 0: all of them
  /// Of each, with top above 1: 0, or that of which StepResult::weights are wanted
  /// (can_bound_weights()). Or empty.
  std::span<const float> temperatures = {};
  /// Ends the step (ErrorCode::Cancelled) when it turns true; may be null.
  const std::atomic<bool>* cancelled = nullptr;
  /// Called in finish() when a device has all work and the host would wait; not by a CPU, which
  /// does it itself. May be null.
  const FunctionRef<void()>* meanwhile = nullptr;
  int64_t rows() const { return static_cast<int64_t>(ids.size()); }
};

/// The forms that linears want their input in, by the schemes of their matrices.
struct InputForms {
  bool f32 = false;      ///< for f32 and f16
  bool s8 = false;       ///< for w8a8
  bool s8_g128 = false;  ///< for w8a8-g128
  int planes = 1;        ///< of int8: 2 if one of them multiplies two, else 1
};
InputForms forms_for(std::initializer_list<const Matrix*> matrices);

/// One int8 plane of rows.
struct Plane {
  int8_t* s8 = nullptr;
  float* scale = nullptr;  ///< [rows]; for w8a8-g128 [rows][num_groups(k)]
};

/// What the linears read: rows of k values, in the forms that were asked for.
struct Activations {
  int64_t rows = 0, k = 0;
  float* f32 = nullptr;                                                ///< [rows][k]
  kernels::ActivationLayout layout = kernels::ActivationLayout::rows;  ///< of the planes
  int64_t stride = 0;                                                  ///< bytes from row to row
  /// The values, and then what these leave of them: the values minus scale * s8, quantized in turn.
  Plane s8[2];       ///< for w8a8
  Plane s8_g128[2];  ///< for w8a8-g128
};

/// The buffers of a step, for up to max_rows rows. Row-major, without gaps.
struct Workspace {
  float* hidden;  ///< [rows, hidden_size]: the residual stream
  float* q;       ///< [rows, num_heads * head_dim]
  float* k;       ///< [rows, num_kv_heads * head_dim]
  float* v;
  float* attention;  ///< [rows, num_heads * head_dim]
  float* logits;     ///< [logit_group, vocab_size]
  Activations x;
};

/// Rows of the head that are computed at a time: bounds the logits buffer.
inline constexpr int64_t logit_group = 32;

/// One matrix multiplication of linear().
struct LinearTask {
  const Matrix* weight;
  const float* bias;  ///< [n] or null
  float* out;         ///< [rows, n]
};

/// What a step left behind.
struct StepResult {
  /// Of the head's last rows, where the host can read them. In a step with Batch::top logits is
  /// null, otherwise best.
  float* logits;
  const TopLogit* best;
  /// Of each row the sum of exp((logit - best) / temperature) over all ids that are not left out,
  /// with a relative error of at most weight_sum_error; null without Batch::temperatures.
  const float* weights;
  int64_t stride;     ///< from row to row, of logits or best
  int64_t first_bad;  ///< the first operation that quantizes, rotate_and_cache() included (counted
                      ///< from start() on), which met a value that was not finite; -1 if there is
                      ///< none that is not reported
};

/// Operations that quantize return false if a value was not finite. A device that works behind the
/// caller's back returns true and reports it in finish(). forms: what the linears that read the
/// result want.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual const Workspace& workspace() const = 0;
  virtual const char* device() const = 0;  ///< as Device::parse takes it
  virtual const char* instruction_set() const = 0;
  virtual int threads() const = 0;
  /// An adapter's matrices where this device's operations read them; null where that is the host's
  /// memory. Not during a step. Errors: OutOfMemory.
  virtual std::unique_ptr<DeviceAdapter> prepare(const AdapterImpl&) { return nullptr; }
  /// Ids that no step gives out as the best. Before the first step. Errors: OutOfMemory.
  virtual void leave_out(std::span<const int32_t> ids) = 0;
  /// Where the caches of this device's sequences lie.
  virtual KvMemory& kv_memory() = 0;

  /// Prepares for the operations of one step (rotary angles of its positions).
  virtual void start(const Batch& batch) = 0;

  /// hidden = table[ids]
  virtual void embed(const Matrix& table) = 0;

  /// x = quantized(H(RMSNorm(hidden[rows]) * weight)); rows: null for all.
  /// H: Hadamard blocks of size `rotation` (kernels/types.h, hadamard_f32); 1 for none.
  virtual bool norm(const float* weight, const std::span<const int64_t>* rows, int64_t rotation,
                    const InputForms& forms) = 0;

  /// out (=, +=) x W^T + bias for each task. following: the matrix of the next linear, which
  /// threads that are done may bring into their caches; null if not known.
  virtual void linear(std::span<const LinearTask> tasks, kernels::Store store,
                      const Matrix* following) = 0;

  /// q, k = RoPE(norm(q), norm(k)); appends k, v to the caches. q_norm, k_norm: null for none.
  /// An int8 cache may hold k in another basis, in which q then is too.
  virtual bool rotate_and_cache(int64_t layer, const float* q_norm, const float* k_norm) = 0;

  /// x = quantized(causal attention of q over the caches)
  virtual bool attention(int64_t layer, const InputForms& forms) = 0;

  /// x = quantized(H(SiLU(x Wgate^T + bias) * (x Wup^T + bias))); the tasks' out is not used.
  /// H: as in norm().
  virtual bool gate_up(const LinearTask& gate, const LinearTask& up, int64_t rotation,
                       const InputForms& forms, const Matrix* following) = 0;

  /// out [rows, hidden_size], in the host's memory, = RMSNorm(hidden) * weight, after finish(),
  /// while the batch that start() got is still there.
  virtual void read_hidden(const float* weight, float* out) = 0;

  /// Waits for the operations so far. logit_rows: rows of the head's last linear to be read, which
  /// are those from `first` on of Batch::logit_rows.
  virtual StepResult finish(int64_t first, int64_t logit_rows) = 0;

  /// All logits of a row of which finish() gave the best few (Batch::top above 1), where the host
  /// can read and change them, until the next operation.
  virtual std::span<float> all_logits(int64_t row) = 0;
};

}  // namespace octet

#pragma once
#include <octet/model.h>

#include <map>
#include <memory>
#include <mutex>
#include <span>

#include "lib/core/thread_pool.h"
#include "lib/io/checkpoint.h"
#include "lib/model/tensor_store.h"
#include "quant/gptq.h"

namespace octet {

/// What calibration knows of linears, by the name of their weight.
using Feedbacks = std::map<std::string, std::shared_ptr<const quant::Feedback>, std::less<>>;

/// Counts finished weights and passes the count on, one call at a time, from any thread.
class WeightCounter {
 public:
  WeightCounter(Progress progress, std::span<const ModelTensor> tensors);
  /// Errors: Cancelled.
  void add(int64_t weights);
  int64_t total() const { return total_; }

 private:
  Progress progress_;
  int64_t total_ = 0, done_ = 0;
  std::mutex mutex_;
};

/// Reads tensors of a checkpoint, brings them into their scheme's form (quantized, packed) and
/// gives them to the sink. The tensors stream through in slabs of rows: memory is some 10 MB a
/// thread. The result depends on nothing but the weights, the schemes and the feedbacks.
class TensorWriter {
 public:
  /// The sink's tensor indices are those of stored_tensors(plan, schemes).
  TensorWriter(const Checkpoint& checkpoint, std::span<const ModelTensor> plan,
               const Schemes& schemes, TensorSink& sink, ThreadPool& pool);

  /// tensors: some of the plan. Linears in `feedbacks` are rounded by quant/gptq.h, others to
  /// nearest. counter: null for none.
  /// Errors: InvalidFile naming a tensor with a value that is not finite; Unsupported for one that
  /// f16 cannot hold; Cancelled.
  void write(std::span<const ModelTensor> tensors, const Feedbacks& feedbacks,
             WeightCounter* counter);

 private:
  const Checkpoint& checkpoint_;
  Schemes schemes_;
  TensorSink& sink_;
  ThreadPool& pool_;
  std::map<std::string, size_t> indices_;
};

}  // namespace octet

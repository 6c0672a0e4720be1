#pragma once
#include <octet/function_ref.h>

#include "lib/model/backend.h"

namespace octet {

/// Gets the residual stream [rows, hidden_size]: index 0 is the embedding, i the output of layer
/// i - 1. For tests.
using HiddenObserver = FunctionRef<void(int64_t index, const float* hidden)>;

/// The linears of a layer, by what they read.
enum class LinearInput { qkv, o, gate_up, down };
/// Gets what linears are about to read.
using InputObserver = FunctionRef<void(LinearInput input, const Activations& x)>;

/// One layer, in place on the residual stream of the batch that the backend has started. layer: of
/// the caches. following: the matrix that is multiplied after it; null if not known.
/// Errors: as decode().
void decode_layer(const LayerWeights& weights, int64_t layer, Backend& backend,
                  const Matrix* following, const InputObserver* observer = nullptr);

/// What a draw looks at of a row: the best so many logits, with the sum of all weights at that
/// temperature if it is not 0; or with top 0 all logits.
struct LogitsWanted {
  int64_t top = 0;
  float temperature = 0;
};

/// What the head says of a row.
struct RowLogits {
  std::span<float> logits;         ///< [vocab_size]; none in a step with Batch::top
  std::span<const TopLogit> best;  ///< [batch.top]
  double weights = 0;              ///< StepResult::weights, if they were wanted
  Backend* backend = nullptr;      ///< which has all logits, with Batch::top above 1,
  int64_t row = 0;                 ///< of this row
  /// The same with all logits, while it is received.
  RowLogits all() const { return {.logits = backend->all_logits(row), .best = {}}; }
};
/// Receives those of batch.logit_rows from `first` on, up to logit_group rows at a time. They may
/// be changed, and are lost when it returns.
using LogitsReceiver = FunctionRef<void(int64_t first, std::span<const RowLogits> rows)>;

/// The logits of the batch's rows from the residual stream that the backend holds.
void decode_head(const ModelConfig& config, const Weights& weights, Backend& backend,
                 const Batch& batch, LogitsReceiver on_logits);

/// One step of the decoder: evaluates every row of the batch, extends the caches, hands out the
/// logits asked for. Errors: InvalidFile naming the layer where a value that is not finite
/// appeared; Cancelled.
void decode(const ModelConfig& config, const Weights& weights, Backend& backend, const Batch& batch,
            LogitsReceiver on_logits, const HiddenObserver* observer = nullptr);

}  // namespace octet

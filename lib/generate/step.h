#pragma once
#include <octet/session.h>

#include <atomic>

#include "lib/generate/sequence.h"
#include "lib/model/decoder.h"
#include "lib/model/model_impl.h"

namespace octet {

/// What one sequence contributes to a step.
struct SequenceInput {
  Sequence* sequence;
  std::span<const int32_t> ids;
  Session::Rows rows;
  LogitsWanted wanted = {};  ///< its rows may be given more, if another input wants it
};

struct StepOptions {
  const std::atomic<bool>* cancelled = nullptr;
  const FunctionRef<void()>* meanwhile = nullptr;  ///< as Batch::meanwhile, once a batch
};

/// A row asked for: which input, which of its rows, and what the head says of it.
struct StepRow {
  size_t input;
  int64_t row;
  RowLogits head;
};
/// Gets some of the rows at a time, in order. Their logits may be changed, and are lost when it
/// returns.
using RowReceiver = FunctionRef<void(std::span<const StepRow> rows)>;

/// Evaluates the ids and appends them to their sequences, in batches of up to the model's rows. The
/// sequences differ. After an error, the sequences have grown by whole batches.
/// Errors: InvalidArgument for ids outside the vocabulary or a full context; Cancelled; as
/// decode().
void run_step(ModelImpl& model, std::span<const SequenceInput> inputs, const StepOptions& options,
              RowReceiver on_rows);

/// Session::evaluate(), handing out what is wanted of a row.
void evaluate(Session& session, std::span<const int32_t> ids, Session::Rows rows,
              const LogitsWanted& wanted, const CancelToken& cancel,
              FunctionRef<void(int64_t row, const RowLogits&)> on_row);

}  // namespace octet

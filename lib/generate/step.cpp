// Ragged steps: cutting the callers' inputs into batches that the backend's workspace holds.
#include "lib/generate/step.h"

#include <algorithm>

#include "lib/core/cancel_flag.h"
#include "lib/core/error.h"
#include "lib/generate/session_impl.h"

namespace octet {
namespace {

using Rows = Session::Rows;

void check_input(const SequenceInput& input, int64_t vocab) {
  for (int32_t id : input.ids)
    require(id >= 0 && id < vocab, ErrorCode::InvalidArgument, "token id ", id,
            " is outside the vocabulary of ", vocab);
  const auto length = input.sequence->size() + static_cast<int64_t>(input.ids.size());
  require(length <= input.sequence->context, ErrorCode::InvalidArgument, "the sequence would have ",
          length, " tokens, the session's context holds ", input.sequence->context);
}

/// One batch under construction; its vectors are used again by the next, so that a step does not
/// allocate.
struct BatchBuilder {
  std::vector<int32_t> ids;
  std::vector<Chunk> chunks;
  std::vector<Sequence*> sequences;  // of the chunks
  std::vector<int64_t> logit_rows;
  // For each of logit_rows.
  std::vector<StepRow> wanted;
  std::vector<float> temperatures;
  // As Batch has them.
  int64_t top = 0;
  bool any_weights = false;

  void clear() {
    ids.clear();
    chunks.clear();
    sequences.clear();
    logit_rows.clear();
    wanted.clear();
    temperatures.clear();
    top = 0;
    any_weights = false;
  }

  /// Adds the next `count` ids of an input, of which `done` are already evaluated.
  void add(size_t index, const SequenceInput& input, int64_t done, int64_t count) {
    Sequence& sequence = *input.sequence;
    const auto first_row = static_cast<int64_t>(ids.size());
    const auto part = input.ids.subspan(static_cast<size_t>(done), static_cast<size_t>(count));
    sequence.cache.extend(sequence.size(), count);
    ids.insert(ids.end(), part.begin(), part.end());
    chunks.push_back(
        {&sequence.cache, &sequence.rope, first_row, count, sequence.size(), sequence.adapters});
    sequences.push_back(&sequence);
    const auto last = static_cast<int64_t>(input.ids.size()) - 1;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = done + i;
      if (input.rows == Rows::none || (input.rows == Rows::last && row != last)) continue;
      want(input.wanted);
      logit_rows.push_back(first_row + i);
      wanted.push_back({index, row, {}});
    }
  }

  /// One more row is wanted.
  void want(const LogitsWanted& of_row) {
    const bool all = of_row.top == 0 || (top == 0 && !logit_rows.empty());
    top = all ? 0 : std::max(top, of_row.top);
    temperatures.push_back(of_row.temperature);
    any_weights = any_weights || of_row.temperature > 0;
  }

  Batch batch(const StepOptions& options) const {
    const std::span<const float> wanted_temperatures =
        top > 1 && any_weights ? std::span(temperatures) : std::span<const float>();
    return {
        ids, chunks, logit_rows, top, wanted_temperatures, options.cancelled, options.meanwhile};
  }

  /// The ids are in the caches now.
  void commit() {
    for (size_t i = 0; i < chunks.size(); ++i) {
      const auto begin = ids.begin() + chunks[i].first_row;
      sequences[i]->tokens.insert(sequences[i]->tokens.end(), begin, begin + chunks[i].rows);
    }
  }
};

/// How far the inputs are cut into batches.
struct Cut {
  size_t input = 0;
  int64_t done = 0;  // ids of that input that are in a batch
};

/// Fills the batch with up to `room` rows.
void fill(BatchBuilder& batch, std::span<const SequenceInput> inputs, Cut& at, int64_t room) {
  batch.clear();
  while (at.input < inputs.size() && room > 0) {
    const SequenceInput& input = inputs[at.input];
    const int64_t left = static_cast<int64_t>(input.ids.size()) - at.done;
    const int64_t count = std::min(left, room);
    if (count > 0) batch.add(at.input, input, at.done, count);
    room -= count;
    at = count == left ? Cut{at.input + 1, 0} : Cut{at.input, at.done + count};
  }
}

/// The sessions' sequences as inputs; what they have evaluated ahead becomes void.
std::span<const SequenceInput> sequences_of(std::span<const StepInput> inputs,
                                            const LogitsWanted& wanted) {
  thread_local std::vector<SequenceInput> sequences;
  sequences.clear();
  for (size_t i = 0; i < inputs.size(); ++i) {
    SessionImpl& session = *inputs[i].session->impl();
    require(&*session.model.impl() == &*inputs[0].session->model().impl(),
            ErrorCode::InvalidArgument, "step: sessions of different models");
    for (size_t j = 0; j < i; ++j)
      require(&session.sequence != sequences[j].sequence, ErrorCode::InvalidArgument,
              "step: inputs ", j, " and ", i, " are the same session");
    if (session.lookup) session.lookup->sequence_grew();
    sequences.push_back({&session.sequence, inputs[i].ids, inputs[i].rows, wanted});
  }
  return sequences;
}

}  // namespace

void run_step(ModelImpl& model, std::span<const SequenceInput> inputs, const StepOptions& options,
              RowReceiver on_rows) {
  for (const SequenceInput& input : inputs) check_input(input, model.config.vocab_size);
  std::lock_guard turn(model.step);

  thread_local BatchBuilder batch;
  for (Cut at; at.input < inputs.size();) {
    fill(batch, inputs, at, model.max_rows);
    if (batch.ids.empty()) return;
    decode(model.config, model.weights, *model.backend, batch.batch(options),
           [&](int64_t first, std::span<const RowLogits> rows) {
             const auto wanted =
                 std::span(batch.wanted).subspan(static_cast<size_t>(first), rows.size());
             for (size_t i = 0; i < rows.size(); ++i) wanted[i].head = rows[i];
             on_rows(wanted);
           });
    batch.commit();
  }
}

void step(std::span<const StepInput> inputs,
          FunctionRef<void(size_t, int64_t, std::span<const float>)> on_logits) {
  if (inputs.empty()) return;
  run_step(*inputs[0].session->model().impl(), sequences_of(inputs, {}), {},
           [&](std::span<const StepRow> rows) {
             for (const StepRow& row : rows) on_logits(row.input, row.row, row.head.logits);
           });
}

void step_top(std::span<const StepInput> inputs, int64_t count,
              FunctionRef<void(size_t, int64_t, std::span<const TopLogit>)> on_best) {
  require(count >= 1 && count <= max_top_logits, ErrorCode::InvalidArgument, "step_top: ", count,
          " logits a row, 1 to ", max_top_logits, " expected");
  if (inputs.empty()) return;
  run_step(*inputs[0].session->model().impl(), sequences_of(inputs, {.top = count}), {},
           [&](std::span<const StepRow> rows) {
             for (const StepRow& row : rows) on_best(row.input, row.row, row.head.best);
           });
}

void evaluate(Session& session, std::span<const int32_t> ids, Session::Rows rows,
              const LogitsWanted& wanted, const CancelToken& cancel,
              FunctionRef<void(int64_t, const RowLogits&)> on_row) {
  const StepInput input[] = {{&session, ids, rows}};
  run_step(*session.model().impl(), sequences_of(input, wanted),
           {cancel ? &cancel.impl()->set : nullptr}, [&](std::span<const StepRow> some) {
             for (const StepRow& row : some) on_row(row.row, row.head);
           });
}

void Session::evaluate(std::span<const int32_t> ids, Rows rows,
                       FunctionRef<void(int64_t, std::span<const float>)> on_logits,
                       const CancelToken& cancel) {
  octet::evaluate(*this, ids, rows, {}, cancel,
                  [&](int64_t row, const RowLogits& head) { on_logits(row, head.logits); });
}

}  // namespace octet

// Ragged steps: cutting the callers' inputs into batches that the backend's workspace holds.
#include <octet/session.h>

#include <algorithm>

#include "lib/core/error.h"
#include "lib/generate/session_impl.h"
#include "lib/model/decoder.h"
#include "lib/model/model_impl.h"

namespace octet {
namespace {

using Rows = Session::Rows;

void check_input(const StepInput& input, const Model& model) {
  const SessionImpl& session = *input.session->impl();
  require(&*session.model.impl() == &*model.impl(), ErrorCode::InvalidArgument,
          "step: sessions of different models");
  const int64_t vocab = model.config().vocab_size;
  for (int32_t id : input.ids)
    require(id >= 0 && id < vocab, ErrorCode::InvalidArgument, "token id ", id,
            " is outside the vocabulary of ", vocab);
  const auto length = static_cast<int64_t>(session.tokens.size() + input.ids.size());
  require(length <= session.context, ErrorCode::InvalidArgument, "the sequence would have ", length,
          " tokens, the session's context holds ", session.context);
}

void check_inputs(std::span<const StepInput> inputs, const Model& model) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    check_input(inputs[i], model);
    for (size_t j = 0; j < i; ++j)
      require(&*inputs[i].session->impl() != &*inputs[j].session->impl(),
              ErrorCode::InvalidArgument, "step: inputs ", j, " and ", i, " are the same session");
  }
}

/// A logits row that a caller wants: which input, and which of its rows.
struct Wanted {
  size_t input;
  int64_t row;
};

/// One batch under construction; its vectors are used again by the next, so that a step does not
/// allocate.
struct BatchBuilder {
  std::vector<int32_t> ids;
  std::vector<Chunk> chunks;
  std::vector<SessionImpl*> sessions;  // of the chunks
  std::vector<int64_t> logit_rows;
  std::vector<Wanted> wanted;  // for each of logit_rows

  void clear() {
    ids.clear();
    chunks.clear();
    sessions.clear();
    logit_rows.clear();
    wanted.clear();
  }

  /// Adds the next `count` ids of an input, of which `done` are already evaluated.
  void add(size_t index, const StepInput& input, int64_t done, int64_t count) {
    SessionImpl& session = *input.session->impl();
    const auto first_row = static_cast<int64_t>(ids.size());
    const auto part = input.ids.subspan(static_cast<size_t>(done), static_cast<size_t>(count));
    ids.insert(ids.end(), part.begin(), part.end());
    chunks.push_back({&session.cache, &session.rope, first_row, count,
                      static_cast<int64_t>(session.tokens.size())});
    sessions.push_back(&session);
    const auto last = static_cast<int64_t>(input.ids.size()) - 1;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = done + i;
      if (input.rows == Rows::none || (input.rows == Rows::last && row != last)) continue;
      logit_rows.push_back(first_row + i);
      wanted.push_back({index, row});
    }
  }

  /// The ids are in the caches now.
  void commit() {
    for (size_t i = 0; i < chunks.size(); ++i) {
      const auto begin = ids.begin() + chunks[i].first_row;
      sessions[i]->tokens.insert(sessions[i]->tokens.end(), begin, begin + chunks[i].rows);
      if (sessions[i]->lookup) sessions[i]->lookup->sequence_grew();
    }
  }
};

/// How far the inputs are cut into batches.
struct Cut {
  size_t input = 0;
  int64_t done = 0;  // ids of that input that are in a batch
};

/// Fills the batch with up to `room` rows.
void fill(BatchBuilder& batch, std::span<const StepInput> inputs, Cut& at, int64_t room) {
  batch.clear();
  while (at.input < inputs.size() && room > 0) {
    const StepInput& input = inputs[at.input];
    const int64_t left = static_cast<int64_t>(input.ids.size()) - at.done;
    const int64_t count = std::min(left, room);
    if (count > 0) batch.add(at.input, input, at.done, count);
    room -= count;
    at = count == left ? Cut{at.input + 1, 0} : Cut{at.input, at.done + count};
  }
}

/// on_row(wanted, logits, best)
template <class OnRow>
void run_steps(std::span<const StepInput> inputs, int64_t top, const OnRow& on_row) {
  if (inputs.empty()) return;
  const Model model = inputs[0].session->model();
  ModelImpl& impl = *model.impl();
  check_inputs(inputs, model);
  std::lock_guard turn(impl.step);

  thread_local BatchBuilder batch;
  for (Cut at; at.input < inputs.size();) {
    fill(batch, inputs, at, impl.max_rows);
    if (batch.ids.empty()) return;
    decode(impl.config, impl.weights, *impl.backend,
           {batch.ids, batch.chunks, batch.logit_rows, top},
           [&](int64_t i, std::span<const float> logits, std::span<const TopLogit> best) {
             on_row(batch.wanted[static_cast<size_t>(i)], logits, best);
           });
    batch.commit();
  }
}

}  // namespace

void step(std::span<const StepInput> inputs,
          FunctionRef<void(size_t, int64_t, std::span<const float>)> on_logits) {
  run_steps(inputs, 0, [&](const Wanted& wanted, std::span<const float> logits, auto) {
    on_logits(wanted.input, wanted.row, logits);
  });
}

void step_top(std::span<const StepInput> inputs, int64_t count,
              FunctionRef<void(size_t, int64_t, std::span<const TopLogit>)> on_best) {
  require(count >= 1 && count <= max_top_logits, ErrorCode::InvalidArgument, "step_top: ", count,
          " logits a row, 1 to ", max_top_logits, " expected");
  run_steps(inputs, count, [&](const Wanted& wanted, auto, std::span<const TopLogit> best) {
    on_best(wanted.input, wanted.row, best);
  });
}

void Session::evaluate(std::span<const int32_t> ids, Rows rows,
                       FunctionRef<void(int64_t, std::span<const float>)> on_logits,
                       const CancelToken&) {
  const StepInput input[] = {{this, ids, rows}};
  step(input, [&](size_t, int64_t row, std::span<const float> logits) { on_logits(row, logits); });
}

}  // namespace octet

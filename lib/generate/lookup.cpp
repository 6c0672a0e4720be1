#include "lib/generate/lookup.h"

#include <algorithm>

#include "lib/generate/session_impl.h"
#include "lib/generate/step.h"
#include "lib/model/model_impl.h"

namespace octet {

Lookup::Lookup(const Model& model, int64_t context)
    : max_rows_(model.impl()->max_rows), index_(context) {}

void Lookup::sequence_cut(int64_t length) {
  guesses_ = 0;
  index_.truncate(std::min(length, index_.size()));
}

/// Whether `id` is the next guess.
bool Lookup::guessed(int32_t id) {
  if (right_ >= guesses_) return false;
  const bool right = ids_[static_cast<size_t>(right_ + 1)] == id;
  length_.observe(match_, right);
  if (right)
    ++right_;
  else
    guesses_ = 0;
  return right;
}

/// Guesses the ids after `id`; returns how many of them are worth a row of the next step.
int64_t Lookup::guess(const Session& session, int32_t id, int64_t most) {
  const std::vector<int32_t>& tokens = session.tokens();
  index_.append(std::span(tokens).subspan(static_cast<size_t>(index_.size())));
  ids_[0] = id;
  match_ = index_.propose(id, std::span(ids_).subspan(1));
  if (match_ == 0) return 0;
  // The last token that will be drawn is not evaluated, neither is one that fills the context.
  const int64_t room = session.context() - session.size() - 2;
  const int64_t limit = std::min({max_draft, max_rows_ - 1, room, most - 1});
  return length_.choose(match_, extra_row_cost(session.model(), session.size()), limit);
}

void Lookup::evaluate(Session& session, int64_t drafts, Answer& answer, const CancelToken& cancel) {
  std::vector<int32_t>& tokens = session.impl()->sequence.tokens;
  const size_t length = tokens.size();
  octet::evaluate(
      session, std::span(ids_).first(static_cast<size_t>(1 + drafts)), Session::Rows::all,
      answer.wanted(), cancel,
      [&](int64_t row, const RowLogits& logits) { rows_.keep(row, answer.sufficient(logits)); });
  // Guesses are in the cache, but not in the sequence until they are drawn.
  tokens.resize(length + 1);
  session.impl()->stats.drafted_tokens += drafts;
}

RowLogits Lookup::advance(Session& session, int32_t id, int64_t most, Answer& answer,
                          const CancelToken& cancel) {
  if (guessed(id) && right_ <= evaluated_) {
    session.impl()->sequence.tokens.push_back(id);
    ++session.impl()->stats.accepted_tokens;
    return rows_.row(right_);
  }
  const int64_t drafts = guess(session, id, most);
  evaluate(session, drafts, answer, cancel);
  evaluated_ = drafts;
  // Without a draft, whether the first guess is right is still worth knowing.
  guesses_ = match_ > 0 ? std::max<int64_t>(drafts, 1) : 0;
  right_ = 0;
  return rows_.row(0);
}

}  // namespace octet

#include "lib/generate/answer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "lib/core/error.h"
#include "lib/model/model_impl.h"

namespace octet {
namespace {

constexpr float never = -std::numeric_limits<float>::infinity();
/// Draws of a constrained token before the shortest way to the end is taken.
constexpr int max_draws = 16;

std::optional<StreamDecoder> make_decoder(const Model& model) {
  if (!model.has_tokenizer()) return std::nullopt;
  return StreamDecoder(model.tokenizer(), {.keep_special = false});
}

void check(const Model& model, const GenerateOptions& options) {
  require(options.logprobs >= -1 && options.logprobs <= max_top_logprobs,
          ErrorCode::InvalidArgument, "logprobs is ", options.logprobs, ", -1 (none) or 0 to ",
          max_top_logprobs, " expected");
  require(model.has_tokenizer() || options.stop.empty(), ErrorCode::Unsupported,
          "stop strings: this model has no tokenizer");
}

}  // namespace

Answer::Answer(const Model& model, const GenerateOptions& options, std::span<const int32_t> prompt)
    : model_((check(model, options), model)),
      options_(options),
      textless_(model.impl()->textless),
      sampler_(options.sampler),
      decoder_(make_decoder(model)),
      stop_(options.stop),
      thinking_(model, options.think, prompt) {
  for (int32_t id : prompt) sampler_.accept_prompt(id);
  if (options.constraint)
    constraint_ = token_constraint(options.constraint, token_trie(*model.impl()));
  if (options.max_tokens <= 0) end(StopReason::limit);
}

void Answer::end(StopReason reason) {
  if (!ended()) stats.stop = reason;
}

/// The end of reasoning that has used up its budget, or the tokens that a constrained answer needs.
void Answer::force_answer(int64_t left) {
  const std::span<const int32_t> closing = thinking_.closing(constraint_ != nullptr);
  const bool late =
      constraint_ && left <= static_cast<int64_t>(closing.size()) + constraint_->distance(state_);
  if (late || thinking_.used_up()) forced_.assign(closing.rbegin(), closing.rend());
}

/// What must follow now, whatever the model says: the end of reasoning for which it is time, or of
/// a constrained text for which only just so many tokens are left.
void Answer::force_closing(int64_t left) {
  if (!forced_.empty()) return;
  if (thinking_.inside()) return force_answer(left);
  if (!constrained()) return;
  const int64_t distance = constraint_->distance(state_);
  require(distance <= left, ErrorCode::InvalidArgument, "the constraint's shortest text may take ",
          distance, " tokens, ", left, " are left of max_tokens and the context");
  if (distance < left || distance == 0) return;
  const std::vector<int32_t> end = constraint_->shortest_end(state_);
  forced_.assign(end.rbegin(), end.rend());
}

LogitsWanted Answer::wanted() const {
  if (constraint_ || options_.logprobs >= 0) return {};
  return {sampler_.best_wanted(),
          sampler_.best_needed() == 0 ? sampler_.options().temperature : 0.0f};
}

RowLogits Answer::sufficient(const RowLogits& row) {
  return row.best.empty() || sampler_.suffice(row.best, row.weights) ? row : row.all();
}

int32_t Answer::draw(const RowLogits& row, int64_t left) {
  if (!row.best.empty()) return sampler_.sample_best(row.best, row.weights);
  const std::span<float> logits = row.logits;
  for (int32_t id : textless_) logits[static_cast<size_t>(id)] = never;
  // Reasoning does not end the text: the constrained answer is still to come.
  if (constraint_ && thinking_.inside())
    for (int32_t id : model_.config().eos_ids)
      if (ends_at(id) && std::cmp_less(id, logits.size())) logits[static_cast<size_t>(id)] = never;
  return constrained() ? draw_constrained(logits, left) : sampler_.sample(logits);
}

/// A token from which the text can still be brought to its end in time. What was drawn and is not
/// such a one is drawn again without it, a few times; then the shortest way to the end begins.
int32_t Answer::draw_constrained(std::span<float> logits, int64_t left) {
  const auto at = [&](int32_t id) -> float& { return logits[static_cast<size_t>(id)]; };
  std::vector<std::pair<int32_t, float>> kept;
  if (thinking_.may_open(stats.generated_tokens)) kept.emplace_back(thinking_.open_tag(), 0.0f);
  if (options_.stop_at_end_tokens && constraint_->accepts(state_))
    for (int32_t id : model_.config().eos_ids)
      if (id >= 0 && std::cmp_less(id, logits.size())) kept.emplace_back(id, 0.0f);
  for (auto& [id, logit] : kept) logit = at(id);
  constraint_->apply(state_, logits);
  for (const auto& [id, logit] : kept) at(id) = logit;
  for (int tries = 0; tries < max_draws; ++tries) {
    const bool any = std::any_of(logits.begin(), logits.end(), [](float x) { return x > never; });
    if (!any) break;
    const int32_t id = sampler_.sample(logits);
    if (std::any_of(kept.begin(), kept.end(), [&](const auto& one) { return one.first == id; }))
      return id;
    const int32_t after = constraint_->after(state_, id);
    if (after != TokenConstraint::dead && constraint_->distance(after) < left) return id;
    at(id) = never;
  }
  const std::vector<int32_t> end = constraint_->shortest_end(state_);
  require(!end.empty(), ErrorCode::Internal, "constraint: no token may follow");
  forced_.assign(end.rbegin(), end.rend() - 1);
  return end.front();
}

/// The constraint's state after a token of the answer, and the end if nothing can follow.
void Answer::follow_constraint(int32_t id) {
  if (thinking_.is_tag(id) || ends_at(id)) return;
  state_ = constraint_->after(state_, id);
  require(state_ != TokenConstraint::dead, ErrorCode::Internal, "constraint: token ", id,
          " must not follow");
  if (!constraint_->goes_on(state_)) end(StopReason::constraint);
}

bool Answer::ends_at(int32_t id) const {
  const std::vector<int32_t>& ends = model_.config().eos_ids;
  return options_.stop_at_end_tokens && std::find(ends.begin(), ends.end(), id) != ends.end();
}

/// The end of a section: what was held back comes out, with this behind it.
std::string Answer::release_held(const std::string& last) {
  std::string text = stop_.push(last);
  return text += stop_.finish();
}

/// Text that the token completes. The tags around reasoning that is given out apart have none, and
/// neither have line breaks where a section begins.
std::string Answer::text_of(int32_t id) {
  if (!decoder_) return {};
  std::string text;
  if (thinking_.separate() && thinking_.is_tag(id)) {
    text = decoder_->finish();
    if (!thinking_.inside()) text = release_held(text);
    section_begins_ = true;
    return text;
  }
  text = decoder_->push(id);
  if (thinking_.separate() && section_begins_) {
    text.erase(0, std::min(text.find_first_not_of('\n'), text.size()));
    section_begins_ = text.empty();
  }
  return thinking_.separate() && thinking_.inside() ? text : stop_.push(text);
}

GenerationPiece Answer::next(const RowLogits& row, int64_t room) {
  const int64_t left = std::min(options_.max_tokens - stats.generated_tokens, room);
  force_closing(left);
  GenerationPiece piece;
  GeneratedToken& token = piece.token;
  const bool was_constrained = constrained();
  std::vector<float> raw;
  if (options_.logprobs >= 0) raw.assign(row.logits.begin(), row.logits.end());
  token.forced = !forced_.empty();
  if (token.forced) {
    token.id = forced_.back();
    forced_.pop_back();
  } else {
    token.id = draw(row, left);
  }
  if (options_.logprobs >= 0) fill_logprobs(raw, options_.logprobs, token);
  sampler_.accept(token.id);
  ++stats.generated_tokens;

  piece.reasoning = thinking_.separate() && thinking_.inside();
  if (ends_at(token.id)) {
    end(StopReason::end_token);
  } else {
    piece.text = text_of(token.id);
    if (stop_.found()) end(StopReason::stop_string);
    if (was_constrained) follow_constraint(token.id);
    if (stats.generated_tokens >= options_.max_tokens)
      end(StopReason::limit);
    else if (room <= 1)
      end(StopReason::context_full);
  }
  thinking_.accept(token.id);
  stats.reasoning_tokens = thinking_.tokens();
  return piece;
}

GenerationPiece Answer::finish() {
  GenerationPiece piece;
  piece.reasoning = thinking_.separate() && thinking_.inside();
  if (decoder_ && !stop_.found()) {
    piece.text = decoder_->finish();
    if (!piece.reasoning) piece.text = release_held(piece.text);
  }
  return piece;
}

}  // namespace octet

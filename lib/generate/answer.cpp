#include "lib/generate/answer.h"

#include <algorithm>
#include <limits>

#include "lib/core/error.h"
#include "lib/model/model_impl.h"

namespace octet {
namespace {

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
      textless_(textless_ids(*model.impl())),
      sampler_(options.sampler),
      decoder_(make_decoder(model)),
      stop_(options.stop),
      thinking_(model, options.think, prompt) {
  for (int32_t id : prompt) sampler_.accept_prompt(id);
  if (options.max_tokens <= 0) end(StopReason::limit);
}

void Answer::end(StopReason reason) {
  if (!ended()) stats.stop = reason;
}

int32_t Answer::draw(std::span<float> logits) {
  for (int32_t id : textless_)
    logits[static_cast<size_t>(id)] = -std::numeric_limits<float>::infinity();
  return sampler_.sample(logits);
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

GenerationPiece Answer::next(std::span<float> logits, int64_t room) {
  if (forced_.empty()) {
    const std::span<const int32_t> closing = thinking_.closing();
    forced_.assign(closing.rbegin(), closing.rend());
  }
  GenerationPiece piece;
  GeneratedToken& token = piece.token;
  token.forced = !forced_.empty();
  std::vector<float> raw;
  if (options_.logprobs >= 0) raw.assign(logits.begin(), logits.end());
  if (token.forced) {
    token.id = forced_.back();
    forced_.pop_back();
  } else {
    token.id = draw(logits);
  }
  if (options_.logprobs >= 0) fill_logprobs(raw, options_.logprobs, token);
  sampler_.accept(token.id);
  ++stats.generated_tokens;

  piece.reasoning = thinking_.separate() && thinking_.inside();
  if (ends_at(token.id)) {
    end(StopReason::end_token);
  } else {
    piece.text = text_of(token.id);
    if (stop_.found())
      end(StopReason::stop_string);
    else if (stats.generated_tokens >= options_.max_tokens)
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

#pragma once
#include <octet/generate.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/generate/logprobs.h"
#include "lib/generate/stop_filter.h"
#include "lib/generate/thinking.h"
#include "lib/generate/token_constraint.h"
#include "lib/model/decoder.h"

namespace octet {

/// One answer as it is made: from logits to tokens, and from tokens to text.
class Answer {
 public:
  /// Errors: InvalidArgument for an option out of range; Unsupported for an option that needs a
  /// tokenizer where the model has none.
  Answer(const Model& model, const GenerateOptions& options, std::span<const int32_t> prompt);

  /// What the next token is drawn from.
  LogitsWanted wanted() const;
  /// That of a row of which this, what was wanted() or more, is given: it itself, or all logits.
  /// While it is received.
  RowLogits sufficient(const RowLogits& row);
  /// The token after a row of which this is sufficient(); all logits are changed. room: tokens that
  /// still fit into the context, this one included.
  GenerationPiece next(const RowLogits& row, int64_t room);
  /// No more tokens are made, for this reason.
  void end(StopReason reason);
  bool ended() const { return stats.stop != StopReason::none; }
  /// After the end: the text that was held back.
  GenerationPiece finish();

  GenerateStats stats;  ///< tokens generated, and why it ended

 private:
  void force_answer(int64_t left);
  void force_closing(int64_t left);
  bool constrained() const { return constraint_ && !thinking_.inside(); }
  int32_t draw(const RowLogits& row, int64_t left);
  int32_t draw_constrained(std::span<float> logits, int64_t left);
  void follow_constraint(int32_t id);
  std::string text_of(int32_t id);
  std::string release_held(const std::string& last);
  bool ends_at(int32_t id) const;

  const Model model_;
  const GenerateOptions options_;
  const std::vector<int32_t>& textless_;
  Sampler sampler_;
  std::optional<StreamDecoder> decoder_;  // none: the model has no tokenizer
  StopFilter stop_;
  Thinking thinking_;
  std::shared_ptr<TokenConstraint> constraint_;  // null: none
  int32_t state_ = 0;                            // of the constraint
  std::vector<int32_t> forced_;  // tokens to come that are not drawn, the next one last
  bool section_begins_ = true;   // no text of this reasoning, or of the answer, was given out yet
};

}  // namespace octet

#pragma once
/// What Session and Engine share: how an answer is made, and what is told about it.
#include <octet/cancel.h>
#include <octet/constraint.h>
#include <octet/export.h>
#include <octet/model.h>
#include <octet/sampler.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace OCTET_EXPORT octet {

/// One turn of a conversation.
struct ChatMessage {
  std::string role;  ///< "system", "user", "assistant"
  std::string content;
};

/// Fills a chat template: the model's own Jinja template, as the prompt's text.
/// Errors: InvalidArgument (the template refused the messages, with its words); Unsupported if
/// the model has no template.
std::string render_chat(const Model& model, std::span<const ChatMessage> messages,
                        bool add_generation_prompt = true);

/// The same as token ids. Text in a message that spells a special token (such as <|im_end|>) is
/// encoded as plain text: only the template writes special tokens. (In an assistant's message
/// <think> and </think> stay, as templates look for them.) A model without a template continues
/// the messages' contents, joined. Errors: as render_chat().
std::vector<int32_t> encode_chat(const Model& model, std::span<const ChatMessage> messages,
                                 bool add_generation_prompt = true);

/// For models that think aloud between <think> and </think> before they answer (R1). Without effect
/// where the vocabulary does not hold both as tokens.
struct ThinkBudget {
  /// The reasoning is given out apart from the answer, and both without the tags.
  bool separate = false;
  /// Tokens of reasoning; when they are used up, a line break and </think> are put into the
  /// sequence in place of what the model would have said, and the answer begins. -1: no cap.
  int64_t max_tokens = -1;
};

struct GenerateOptions {
  SamplerOptions sampler;
  int64_t max_tokens = 512;       ///< reasoning included
  std::vector<std::string> stop;  ///< text that ends the generation and is not given out
  bool stop_at_end_tokens = true;
  /// Prompt lookup: where the text repeats itself, the next tokens are guessed from the earlier
  /// place and evaluated in one step, as many as were likely right so far. Changes the speed and
  /// nothing else. Without effect in the f16 and f32 schemes, whose logits depend on the step, and
  /// in an Engine, whose steps have rows of several requests.
  bool lookup = true;
  /// What is told of each token: nothing (-1), or its log-probability and those of so many of the
  /// likeliest tokens (0 to max_top_logprobs). Of the model's own distribution: before penalties,
  /// temperature, cuts and constraints.
  int64_t logprobs = -1;
  ThinkBudget think;
  Constraint constraint = {};  ///< of the answer; reasoning before it is free
  CancelToken cancel = {};
};
inline constexpr int64_t max_top_logprobs = 64;

/// What the model's checkpoint recommends; where it is silent, top-k 5 at temperature 0.7.
GenerateOptions default_options(const Model& model);

struct TokenLogprob {
  int32_t id;
  float logprob;  ///< natural logarithm
};

/// A token that was generated. logprob and top: only if GenerateOptions::logprobs asked for them.
struct GeneratedToken {
  int32_t id = -1;
  float logprob = 0;
  bool forced = false;            ///< not drawn: put there by a ThinkBudget or a Constraint
  std::vector<TokenLogprob> top;  ///< the likeliest, best first
};

/// The next part of an answer.
struct GenerationPiece {
  /// What can be given out now: complete characters that do not begin a stop string; may be empty.
  std::string text;
  bool reasoning = false;
  GeneratedToken token;  ///< id -1: none, this is the rest of the text
};

enum class StopReason {
  none,
  end_token,
  stop_string,
  limit,
  callback,      ///< the caller stopped
  context_full,  ///< no position is left
  constraint,    ///< the constrained answer is complete and nothing can follow
  cancelled,
  deadline,  ///< of an Engine's request
};
const char* to_string(StopReason reason) noexcept;

/// What a generation did. Seconds are wall time.
struct GenerateStats {
  int64_t prompt_tokens = 0;  ///< evaluated for this call
  int64_t cached_tokens = 0;  ///< taken from the KV cache
  int64_t generated_tokens = 0;
  int64_t reasoning_tokens = 0;  ///< of these, inside <think>
  int64_t drafted_tokens = 0;    ///< guesses by prompt lookup that were evaluated
  int64_t accepted_tokens = 0;   ///< of these, the ones that became generated tokens
  int64_t dropped_turns = 0;     ///< that Overflow::drop_oldest left out of the prompt
  double prefill_seconds = 0;
  double decode_seconds = 0;
  double first_token_seconds = 0;  ///< call to first token, tokenizer included
  StopReason stop = StopReason::none;
};

}  // namespace octet

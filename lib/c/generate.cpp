#include "lib/c/generate.h"

#include "lib/c/call.h"
#include "lib/c/handles.h"

using namespace octet;
using namespace octet::c;

static_assert(OCTET_STOP_NONE == int(StopReason::none));
static_assert(OCTET_STOP_END_TOKEN == int(StopReason::end_token));
static_assert(OCTET_STOP_STRING == int(StopReason::stop_string));
static_assert(OCTET_STOP_LIMIT == int(StopReason::limit));
static_assert(OCTET_STOP_CALLBACK == int(StopReason::callback));
static_assert(OCTET_STOP_CONTEXT_FULL == int(StopReason::context_full));
static_assert(OCTET_STOP_CONSTRAINT == int(StopReason::constraint));
static_assert(OCTET_STOP_CANCELLED == int(StopReason::cancelled));
static_assert(OCTET_STOP_DEADLINE == int(StopReason::deadline));

octet_status octet_cancel_token_create(octet_cancel_token** token) {
  return call([&] {
    octet_cancel_token*& out = given(token, "token");
    out = new octet_cancel_token{CancelToken::make()};
  });
}

void octet_cancel_token_cancel(octet_cancel_token* token) {
  if (token) token->token.cancel();
}

void octet_cancel_token_free(octet_cancel_token* token) {
  delete token;
}

octet_status octet_constraint_json_schema(const char* schema, octet_constraint** constraint) {
  return call([&] {
    octet_constraint*& out = given(constraint, "constraint");
    out = new octet_constraint{Constraint::json_schema(text(schema, "schema"))};
  });
}

octet_status octet_constraint_regex(const char* pattern, octet_constraint** constraint) {
  return call([&] {
    octet_constraint*& out = given(constraint, "constraint");
    out = new octet_constraint{Constraint::regex(text(pattern, "pattern"))};
  });
}

void octet_constraint_free(octet_constraint* constraint) {
  delete constraint;
}

octet_status octet_generate_options_init(const octet_model* model, octet_generate_options* options,
                                         size_t size) {
  return call([&] {
    octet_generate_options& out = sized(options, size, "options");
    const GenerateOptions defaults = default_options(given(model, "model").model);
    out = {.size = size,
           .max_tokens = defaults.max_tokens,
           .temperature = defaults.sampler.temperature,
           .top_k = defaults.sampler.top_k,
           .top_p = defaults.sampler.top_p,
           .min_p = defaults.sampler.min_p,
           .repetition_penalty = defaults.sampler.repetition_penalty,
           .presence_penalty = defaults.sampler.presence_penalty,
           .frequency_penalty = defaults.sampler.frequency_penalty,
           .seed = defaults.sampler.seed,
           .stop = nullptr,
           .stop_count = 0,
           .stop_at_end_tokens = defaults.stop_at_end_tokens,
           .lookup = defaults.lookup,
           .logprobs = defaults.logprobs,
           .separate_reasoning = defaults.think.separate,
           .max_reasoning_tokens = defaults.think.max_tokens,
           .constraint = nullptr,
           .cancel = nullptr};
  });
}

namespace octet::c {

CancelToken cancel_token(const octet_cancel_token* token) {
  return token ? token->token : CancelToken();
}

GenerateOptions generate_options(const Model& model, const octet_generate_options* given_options) {
  if (!given_options) return default_options(model);
  const octet_generate_options& from = sized(given_options, given_options->size, "options");
  GenerateOptions options;
  options.sampler = {.temperature = from.temperature,
                     .top_k = from.top_k,
                     .top_p = from.top_p,
                     .min_p = from.min_p,
                     .repetition_penalty = from.repetition_penalty,
                     .presence_penalty = from.presence_penalty,
                     .frequency_penalty = from.frequency_penalty,
                     .seed = from.seed};
  options.max_tokens = from.max_tokens;
  for (const char* stop : array(from.stop, from.stop_count, "options.stop"))
    options.stop.emplace_back(text(stop, "options.stop"));
  options.stop_at_end_tokens = from.stop_at_end_tokens;
  options.lookup = from.lookup;
  options.logprobs = from.logprobs;
  options.think = {from.separate_reasoning, from.max_reasoning_tokens};
  if (from.constraint) options.constraint = from.constraint->constraint;
  options.cancel = cancel_token(from.cancel);
  return options;
}

octet_generate_stats generate_stats(const GenerateStats& from) {
  return {.prompt_tokens = from.prompt_tokens,
          .cached_tokens = from.cached_tokens,
          .generated_tokens = from.generated_tokens,
          .reasoning_tokens = from.reasoning_tokens,
          .drafted_tokens = from.drafted_tokens,
          .accepted_tokens = from.accepted_tokens,
          .dropped_turns = from.dropped_turns,
          .prefill_seconds = from.prefill_seconds,
          .decode_seconds = from.decode_seconds,
          .first_token_seconds = from.first_token_seconds,
          .stop = static_cast<octet_stop_reason>(from.stop)};
}

void TokenList::assign(std::span<const GeneratedToken> tokens) {
  tops_.clear();
  for (const GeneratedToken& token : tokens)
    for (const TokenLogprob& top : token.top) tops_.push_back({top.id, top.logprob});
  // Only now do the alternatives stay where they are.
  tokens_.clear();
  const octet_logprob* top = tops_.data();
  for (const GeneratedToken& token : tokens) {
    tokens_.push_back({token.id, token.logprob, token.forced, top, token.top.size()});
    top += token.top.size();
  }
}

}  // namespace octet::c

#pragma once
#include <octet/generate.h>
#include <octet/tokenizer.h>

#include <span>

#include "tools/serve/json.h"

namespace octet::serve {

/// {"content": [{"token", "logprob", "bytes", "top_logprobs"}, ...]}, as in chat completions.
Json chat_logprobs(const Tokenizer& tokenizer, std::span<const GeneratedToken> tokens);

/// {"tokens", "token_logprobs", "top_logprobs", "text_offset"}, as in completions. `offset` counts
/// the characters of an answer's tokens so far.
Json completion_logprobs(const Tokenizer& tokenizer, std::span<const GeneratedToken> tokens,
                         int64_t& offset);

}  // namespace octet::serve

#pragma once
#include <octet/generate.h>

#include <span>

namespace octet {

/// token.logprob, of token.id, and the `count` best of token.top: log softmax(logits), in double.
/// Of equal ones the smaller id comes first.
void fill_logprobs(std::span<const float> logits, int64_t count, GeneratedToken& token);

}  // namespace octet

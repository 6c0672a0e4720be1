#include "tools/serve/logprobs.h"

#include <algorithm>

namespace octet::serve {
namespace {

std::string token_text(const Tokenizer& tokenizer, int32_t id) {
  return tokenizer.decode(std::span(&id, 1));
}

/// JSON has no infinity; the least value stands for it, as in OpenAI's API.
double finite(float logprob) {
  return std::max(static_cast<double>(logprob), -9999.0);
}

/// null for a token that is no text by itself, a part of a character.
Json bytes_of(const std::string& text) {
  if (text.find("\xef\xbf\xbd") != std::string::npos) return nullptr;
  Json bytes = Json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return bytes;
}

Json one_logprob(const Tokenizer& tokenizer, int32_t id, float logprob) {
  const std::string text = token_text(tokenizer, id);
  return {{"token", text}, {"logprob", finite(logprob)}, {"bytes", bytes_of(text)}};
}

int64_t characters(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

}  // namespace

Json chat_logprobs(const Tokenizer& tokenizer, std::span<const GeneratedToken> tokens) {
  Json content = Json::array();
  for (const GeneratedToken& token : tokens) {
    Json entry = one_logprob(tokenizer, token.id, token.logprob);
    Json& top = entry["top_logprobs"] = Json::array();
    for (const TokenLogprob& other : token.top)
      top.push_back(one_logprob(tokenizer, other.id, other.logprob));
    content.push_back(std::move(entry));
  }
  return {{"content", content}, {"refusal", nullptr}};
}

Json completion_logprobs(const Tokenizer& tokenizer, std::span<const GeneratedToken> tokens,
                         int64_t& offset) {
  Json texts = Json::array(), logprobs = Json::array(), tops = Json::array(),
       offsets = Json::array();
  for (const GeneratedToken& token : tokens) {
    const std::string text = token_text(tokenizer, token.id);
    Json top = Json::object();
    for (const TokenLogprob& other : token.top)
      top[token_text(tokenizer, other.id)] = finite(other.logprob);
    texts.push_back(text);
    logprobs.push_back(finite(token.logprob));
    tops.push_back(std::move(top));
    offsets.push_back(offset);
    offset += characters(text);
  }
  return {{"tokens", texts},
          {"token_logprobs", logprobs},
          {"top_logprobs", tops},
          {"text_offset", offsets}};
}

}  // namespace octet::serve

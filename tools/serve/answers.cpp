#include "tools/serve/answers.h"

#include <algorithm>

#include "tools/serve/api_error.h"

namespace octet::serve {
namespace {

// How soon a client's disappearance is seen.
constexpr double wait_seconds = 0.02;
constexpr size_t max_answers = 32;

}  // namespace

Answers::Answers(Service& service, Exchange& exchange, std::vector<std::vector<int32_t>> prompts,
                 const GenerationFields& fields)
    : exchange_(exchange),
      log_content_(service.log_content),
      choices_(static_cast<size_t>(fields.choices)) {
  if (prompts.size() * choices_ > max_answers)
    throw ApiError(400, "the request asks for " + std::to_string(prompts.size() * choices_) +
                            " answers, at most " + std::to_string(max_answers) + " are possible");
  for (const std::vector<int32_t>& prompt : prompts) {
    EngineRequest request;
    request.prompt = prompt;
    request.options = fields.options;
    request.options.cancel = service.shutdown;
    const int64_t room = service.engine.context() - static_cast<int64_t>(prompt.size());
    request.options.max_tokens = std::clamp<int64_t>(room, 1, fields.options.max_tokens);
    request.client = exchange.request.client;
    for (size_t i = 0; i < choices_; ++i) {
      generations_.push_back(service.engine.submit(request));
      ++request.options.sampler.seed;
    }
    exchange.record.prompt_tokens += static_cast<int64_t>(prompt.size());
  }
  active_ = generations_.size();
  ended_.resize(active_);
}

void Answers::account(const GenerateStats& stats, size_t choice) {
  ExchangeRecord& record = exchange_.record;
  record.completion_tokens += stats.generated_tokens;
  reasoning_tokens_ += stats.reasoning_tokens;
  if (choice % choices_ == 0) record.cached_tokens += stats.cached_tokens;
  if (choice == 0) record.first_token_seconds = stats.first_token_seconds;
}

bool Answers::poll(size_t choice, double seconds, AnswerPart& part) {
  part = {};
  part.choice = choice;
  switch (generations_[choice].poll(part.piece, seconds)) {
    case Generation::Poll::timeout:
      return false;
    case Generation::Poll::piece:
      if (log_content_ && !part.piece.reasoning) exchange_.record.answer += part.piece.text;
      return true;
    case Generation::Poll::end:
      break;
  }
  part.end = true;
  part.stats = generations_[choice].stats();
  if (part.stats.stop == StopReason::cancelled)
    throw ApiError(503, "the server ended this request, as it is shutting down");
  account(part.stats, choice);
  ended_[choice] = true;
  --active_;
  return true;
}

size_t Answers::next_active() {
  do turn_ = (turn_ + 1) % size();
  while (ended_[turn_]);
  return turn_;
}

bool Answers::next(AnswerPart& part) {
  while (active_ > 0) {
    if (exchange_.client_gone()) throw ClientGone();
    for (size_t i = 0; i < active_; ++i)
      if (poll(next_active(), 0, part)) return true;
    // None has anything: wait for one of them, shorter the more there are.
    if (poll(next_active(), wait_seconds / static_cast<double>(active_), part)) return true;
  }
  return false;
}

std::vector<Answer> Answers::collect() {
  std::vector<Answer> answers(size());
  for (AnswerPart part; next(part);) {
    Answer& answer = answers[part.choice];
    if (part.end) {
      answer.stop = part.stats.stop;
      continue;
    }
    (part.piece.reasoning ? answer.reasoning : answer.text) += part.piece.text;
    if (!part.piece.reasoning && part.piece.token.id >= 0)
      answer.tokens.push_back(std::move(part.piece.token));
  }
  return answers;
}

Json Answers::usage() const {
  const ExchangeRecord& record = exchange_.record;
  return {{"prompt_tokens", record.prompt_tokens},
          {"completion_tokens", record.completion_tokens},
          {"total_tokens", record.prompt_tokens + record.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", record.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", reasoning_tokens_}}}};
}

}  // namespace octet::serve

#include "tools/serve/answers.h"
#include "tools/serve/api_error.h"
#include "tools/serve/chunks.h"
#include "tools/serve/endpoints.h"
#include "tools/serve/logprobs.h"
#include "tools/serve/prompts.h"

namespace octet::serve {
namespace {

constexpr int64_t max_logprobs_in_completions = 5;  // as in OpenAI's API

struct CompletionRequest {
  std::vector<std::vector<int32_t>> prompts;
  GenerationFields generation;

  CompletionRequest(Fields& fields, const Service& service)
      : prompts(read_prompts(fields, "prompt", service.model().tokenizer())),
        generation(fields, service.model()) {
    if (const auto model = fields.text("model")) service.check_model(*model);
    generation.options.logprobs =
        fields.integer("logprobs", 0, max_logprobs_in_completions).value_or(-1);
    fields.unsupported("echo", {false});
    fields.unsupported("suffix", {""});
    fields.unsupported("best_of", {1});
    fields.finish();
  }
};

Json response_head(const Service& service, const Exchange& exchange) {
  return {{"id", response_id("cmpl", exchange.record.id)},
          {"object", "text_completion"},
          {"created", unix_time()},
          {"model", service.model_name},
          {"system_fingerprint", service.fingerprint}};
}

Json choice_of(size_t index, const std::string& text, Json logprobs, Json finish) {
  return {{"index", index},
          {"text", text},
          {"logprobs", std::move(logprobs)},
          {"finish_reason", std::move(finish)}};
}

void answer_whole(Service& service, Exchange& exchange, Answers& answers, bool logprobs) {
  Json choices = Json::array();
  for (const Answer& answer : answers.collect()) {
    int64_t offset = 0;
    choices.push_back(
        choice_of(choices.size(), answer.text,
                  logprobs ? completion_logprobs(service.model().tokenizer(), answer.tokens, offset)
                           : Json(nullptr),
                  finish_reason(answer.stop)));
  }
  Json response = response_head(service, exchange);
  response["choices"] = std::move(choices);
  response["usage"] = answers.usage();
  reply_json(exchange, response);
}

void answer_in_parts(Service& service, Exchange& exchange, Answers& answers,
                     const GenerationFields& fields) {
  const bool logprobs = fields.options.logprobs >= 0;
  std::vector<int64_t> offsets(answers.size());
  const auto choice = [&](const AnswerPart& part) -> Json {
    const GenerationPiece& piece = part.piece;
    const bool token = logprobs && piece.token.id >= 0;
    if (!part.end && piece.text.empty() && !token) return nullptr;
    Json details;
    if (token)
      details = completion_logprobs(service.model().tokenizer(), std::span(&piece.token, 1),
                                    offsets[part.choice]);
    return choice_of(part.choice, piece.text, std::move(details),
                     part.end ? Json(finish_reason(part.stats.stop)) : Json(nullptr));
  };
  stream_chunks(exchange, answers, response_head(service, exchange), fields.include_usage,
                Json::array(), choice);
}

}  // namespace

void completions(Service& service, Exchange& exchange) {
  const Json body = parse_json(exchange.request.body);
  Fields fields(body);
  const CompletionRequest request(fields, service);
  if (service.log_content) exchange.record.prompt = dump(body["prompt"]);
  Answers answers(service, exchange, request.prompts, request.generation);
  if (request.generation.stream)
    answer_in_parts(service, exchange, answers, request.generation);
  else
    answer_whole(service, exchange, answers, request.generation.options.logprobs >= 0);
}

}  // namespace octet::serve

#include "tools/serve/answers.h"
#include "tools/serve/api_error.h"
#include "tools/serve/chat_messages.h"
#include "tools/serve/chunks.h"
#include "tools/serve/endpoints.h"
#include "tools/serve/logprobs.h"

namespace octet::serve {
namespace {

constexpr int64_t max_top_logprobs_in_chat = 20;  // as in OpenAI's API

struct ChatRequest {
  std::vector<ChatMessage> messages;
  GenerationFields generation;

  ChatRequest(Fields& fields, const Service& service)
      : messages(read_messages(fields)), generation(fields, service.model()) {
    if (const auto model = fields.text("model")) service.check_model(*model);
    GenerateOptions& options = generation.options;
    if (const auto most = fields.integer("max_completion_tokens", 1, INT32_MAX))
      options.max_tokens = *most;
    read_logprobs(fields, options);
    options.think.separate = true;
    options.think.max_tokens = fields.integer("thinking_budget", 0, INT32_MAX).value_or(-1);
    refuse_unsupported(fields);
    fields.finish();
  }

 private:
  static void read_logprobs(Fields& fields, GenerateOptions& options) {
    const bool wanted = fields.boolean("logprobs").value_or(false);
    const auto top = fields.integer("top_logprobs", 0, max_top_logprobs_in_chat);
    if (top && !wanted) fields.fail("top_logprobs", "nothing, as logprobs is not true");
    if (wanted) options.logprobs = top.value_or(0);
  }

  static void refuse_unsupported(Fields& fields) {
    fields.unsupported("tools", {Json::array()});
    fields.unsupported("tool_choice", {"none", "auto"});
    fields.unsupported("functions", {Json::array()});
    fields.unsupported("function_call", {"none", "auto"});
    fields.unsupported("modalities", {{"text"}});
    fields.unsupported("audio");
    fields.unsupported("prediction");
    fields.unsupported("web_search_options");
    fields.ignore({"parallel_tool_calls", "reasoning_effort", "verbosity"});
  }
};

/// What the response and each of its chunks begin with.
Json response_head(const Service& service, const Exchange& exchange, const char* object) {
  return {{"id", response_id("chatcmpl", exchange.record.id)},
          {"object", object},
          {"created", unix_time()},
          {"model", service.model_name},
          {"system_fingerprint", service.fingerprint}};
}

Json message_of(const Answer& answer) {
  Json message = {{"role", "assistant"}, {"content", answer.text}, {"refusal", nullptr}};
  if (!answer.reasoning.empty()) message["reasoning_content"] = answer.reasoning;
  return message;
}

void answer_whole(Service& service, Exchange& exchange, Answers& answers, bool logprobs) {
  Json choices = Json::array();
  for (const Answer& answer : answers.collect())
    choices.push_back(
        {{"index", choices.size()},
         {"message", message_of(answer)},
         {"logprobs",
          logprobs ? chat_logprobs(service.model().tokenizer(), answer.tokens) : Json(nullptr)},
         {"finish_reason", finish_reason(answer.stop)}});
  Json response = response_head(service, exchange, "chat.completion");
  response["choices"] = std::move(choices);
  response["usage"] = answers.usage();
  reply_json(exchange, response);
}

/// The choice of a chunk; null where there is nothing to tell.
Json chunk_choice(const Service& service, const AnswerPart& part, bool logprobs) {
  Json choice = {{"index", part.choice},
                 {"delta", Json::object()},
                 {"logprobs", nullptr},
                 {"finish_reason", nullptr}};
  if (part.end) {
    choice["finish_reason"] = finish_reason(part.stats.stop);
    return choice;
  }
  const GenerationPiece& piece = part.piece;
  const bool token = logprobs && !piece.reasoning && piece.token.id >= 0;
  if (piece.text.empty() && !token) return nullptr;
  choice["delta"][piece.reasoning ? "reasoning_content" : "content"] = piece.text;
  if (token)
    choice["logprobs"] = chat_logprobs(service.model().tokenizer(), std::span(&piece.token, 1));
  return choice;
}

void answer_in_parts(Service& service, Exchange& exchange, Answers& answers,
                     const GenerationFields& fields) {
  Json begin = Json::array();
  for (size_t i = 0; i < answers.size(); ++i)
    begin.push_back({{"index", i},
                     {"delta", {{"role", "assistant"}, {"content", ""}}},
                     {"logprobs", nullptr},
                     {"finish_reason", nullptr}});
  const bool logprobs = fields.options.logprobs >= 0;
  stream_chunks(exchange, answers, response_head(service, exchange, "chat.completion.chunk"),
                fields.include_usage, std::move(begin),
                [&](const AnswerPart& part) { return chunk_choice(service, part, logprobs); });
}

}  // namespace

void chat_completions(Service& service, Exchange& exchange) {
  const Json body = parse_json(exchange.request.body);
  Fields fields(body);
  const ChatRequest request(fields, service);
  if (service.log_content) exchange.record.prompt = dump(body["messages"]);
  Answers answers(service, exchange, {encode_chat(service.model(), request.messages)},
                  request.generation);
  if (request.generation.stream)
    answer_in_parts(service, exchange, answers, request.generation);
  else
    answer_whole(service, exchange, answers, request.generation.options.logprobs >= 0);
}

}  // namespace octet::serve

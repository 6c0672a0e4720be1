// /tokenize and /detokenize, in vLLM's form.
#include "tools/serve/api_error.h"
#include "tools/serve/chat_messages.h"
#include "tools/serve/endpoints.h"
#include "tools/serve/prompts.h"

namespace octet::serve {
namespace {

std::vector<int32_t> ids_of(Fields& fields, const Service& service) {
  const Tokenizer& tokenizer = service.model().tokenizer();
  const auto prompt = fields.text("prompt");
  const bool bos = fields.boolean("add_special_tokens").value_or(true);
  if (!prompt) return encode_chat(service.model(), read_messages(fields));
  if (fields.any("messages")) fields.fail("messages", "nothing beside prompt");
  return tokenizer.encode(*prompt,
                          {.add_bos = bos && tokenizer.adds_bos(), .parse_special = false});
}

}  // namespace

void tokenize(Service& service, Exchange& exchange) {
  const Json body = parse_json(exchange.request.body);
  Fields fields(body);
  if (const auto model = fields.text("model")) service.check_model(*model);
  const std::vector<int32_t> ids = ids_of(fields, service);
  fields.finish();
  reply_json(exchange,
             {{"count", ids.size()}, {"max_model_len", service.engine.context()}, {"tokens", ids}});
}

void detokenize(Service& service, Exchange& exchange) {
  const Json body = parse_json(exchange.request.body);
  Fields fields(body);
  if (const auto model = fields.text("model")) service.check_model(*model);
  const Json* tokens = fields.any("tokens");
  if (!tokens || !tokens->is_array()) fields.fail("tokens", "a list of token ids");
  const std::vector<int32_t> ids = read_ids(fields, "tokens", *tokens);
  fields.finish();
  reply_json(exchange, {{"prompt", service.model().tokenizer().decode(ids)}});
}

}  // namespace octet::serve

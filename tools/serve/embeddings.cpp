#include <octet/embed.h>

#include <bit>
#include <chrono>
#include <future>

#include "tools/serve/api_error.h"
#include "tools/serve/base64.h"
#include "tools/serve/endpoints.h"
#include "tools/serve/prompts.h"

namespace octet::serve {
namespace {

constexpr std::chrono::milliseconds wait{20};  // how soon a client's disappearance is seen

void check_wanted(const Service& service, const Exchange& exchange) {
  if (exchange.client_gone()) throw ClientGone();
  if (service.shutdown.cancelled()) throw ApiError(503, "the server is shutting down");
}

/// The turn to embed, until the end of the scope. Errors: as check_wanted().
class EmbeddingTurn {
 public:
  EmbeddingTurn(Service& service, const Exchange& exchange) : turn_(service.embedding) {
    while (!turn_.try_acquire_for(wait)) check_wanted(service, exchange);
  }
  ~EmbeddingTurn() { turn_.release(); }
  EmbeddingTurn(const EmbeddingTurn&) = delete;
  EmbeddingTurn& operator=(const EmbeddingTurn&) = delete;

 private:
  std::binary_semaphore& turn_;
};

/// One vector, given up when the client goes away.
std::vector<float> embed_for(Service& service, const Exchange& exchange,
                             const std::vector<int32_t>& ids) {
  const EmbeddingTurn turn(service, exchange);
  EmbedOptions options;
  options.cancel = CancelToken::make();
  auto vector =
      std::async(std::launch::async, [&] { return embed(service.model(), ids, options); });
  try {
    while (vector.wait_for(wait) != std::future_status::ready) check_wanted(service, exchange);
  } catch (...) {
    options.cancel.cancel();
    vector.wait();
    throw;
  }
  return vector.get();
}

Json encoded(const std::vector<float>& vector, bool as_base64) {
  static_assert(std::endian::native == std::endian::little, "the API's floats are little-endian");
  if (!as_base64) return vector;
  return base64({reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float)});
}

}  // namespace

void embeddings(Service& service, Exchange& exchange) {
  const Json body = parse_json(exchange.request.body);
  Fields fields(body);
  const int64_t hidden = service.model().config().hidden_size;
  const auto prompts = read_prompts(fields, "input", service.model().tokenizer());
  if (const auto model = fields.text("model")) service.check_model(*model);
  const bool as_base64 = fields.choice("encoding_format", {"float", "base64"}) == "base64";
  fields.integer("dimensions", hidden, hidden);
  fields.ignore({"user"});
  fields.finish();

  Json data = Json::array();
  for (const std::vector<int32_t>& ids : prompts) {
    exchange.record.prompt_tokens += static_cast<int64_t>(ids.size());
    data.push_back({{"object", "embedding"},
                    {"index", data.size()},
                    {"embedding", encoded(embed_for(service, exchange, ids), as_base64)}});
  }
  reply_json(exchange, {{"object", "list"},
                        {"data", std::move(data)},
                        {"model", service.model_name},
                        {"usage",
                         {{"prompt_tokens", exchange.record.prompt_tokens},
                          {"total_tokens", exchange.record.prompt_tokens}}}});
}

}  // namespace octet::serve

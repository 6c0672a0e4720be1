#pragma once
#include "tools/serve/exchange.h"
#include "tools/serve/service.h"

namespace octet::serve {

// What answers a request, a file each. Errors: ApiError, Error, ClientGone.

void chat_completions(Service& service, Exchange& exchange);
void completions(Service& service, Exchange& exchange);
void embeddings(Service& service, Exchange& exchange);
void list_models(Service& service, Exchange& exchange);
/// The model that Exchange::parameter names.
void get_model(Service& service, Exchange& exchange);
void tokenize(Service& service, Exchange& exchange);
void detokenize(Service& service, Exchange& exchange);

/// Replies with JSON.
void reply_json(Exchange& exchange, const Json& body);

}  // namespace octet::serve

#include "tools/serve/endpoints.h"

namespace octet::serve {
namespace {

Json model_object(const Service& service) {
  return {{"id", service.model_name},
          {"object", "model"},
          {"created", service.created},
          {"owned_by", "octet"},
          {"max_model_len", service.engine.context()}};
}

}  // namespace

void list_models(Service& service, Exchange& exchange) {
  reply_json(exchange, {{"object", "list"}, {"data", Json::array({model_object(service)})}});
}

void get_model(Service& service, Exchange& exchange) {
  service.check_model(exchange.parameter);
  reply_json(exchange, model_object(service));
}

void reply_json(Exchange& exchange, const Json& body) {
  exchange.reply({.status = 200,
                  .content_type = "application/json",
                  .body = dump(body),
                  .headers = {{"Cache-Control", "no-store"}}});
}

}  // namespace octet::serve

#include "tools/serve/service.h"

#include <ctime>

#include "tools/serve/api_error.h"

namespace octet::serve {

void Service::check_model(const std::string& name) const {
  if (name != model_name)
    throw ApiError(404, "there is no model \"" + name + "\" here, only \"" + model_name + '"',
                   "model", "model_not_found");
}

int64_t unix_time() {
  return static_cast<int64_t>(std::time(nullptr));
}

std::string response_id(const char* prefix, const std::string& exchange_id) {
  return std::string(prefix) + '-' + exchange_id;
}

}  // namespace octet::serve

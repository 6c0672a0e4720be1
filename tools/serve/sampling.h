#pragma once
#include <octet/generate.h>

#include "tools/serve/fields.h"

namespace octet::serve {

/// The fields that /v1/chat/completions and /v1/completions share.
struct GenerationFields {
  GenerateOptions options;
  int64_t choices = 1;  ///< n
  bool stream = false;
  bool include_usage = false;

  /// Starts from what the model's checkpoint recommends; a seed that was not given is random.
  GenerationFields(Fields& fields, const Model& model);
};

/// The response's {"finish_reason"}: "stop" or "length".
const char* finish_reason(StopReason reason);

}  // namespace octet::serve

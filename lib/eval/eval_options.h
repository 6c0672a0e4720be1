#pragma once
#include <octet/eval.h>

namespace octet {

/// Errors: InvalidArgument.
void check_options(const EvalOptions& options);

}  // namespace octet

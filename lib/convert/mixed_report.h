#pragma once
#include <octet/quant.h>

#include "lib/convert/assignment.h"

namespace octet {

/// written: the comparison of the file with the float model.
MixedReport mixed_report(const ModelSensitivity& sensitivity, Scheme scheme,
                         const Assignment& chosen, const EvalComparison& written, int64_t tokens);

}  // namespace octet

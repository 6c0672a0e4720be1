#pragma once
#include <span>
#include <string_view>

#include "lib/io/checkpoint.h"

namespace octet {

/// Rows of k values of a checkpoint's tensor, from first_row on.
/// Errors: InvalidFile naming the place of a value that is not finite.
void require_finite(const Checkpoint& checkpoint, std::string_view tensor, int64_t first_row,
                    int64_t k, std::span<const float> values);

}  // namespace octet

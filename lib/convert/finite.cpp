#include "lib/convert/finite.h"

#include <cmath>

#include "lib/core/error.h"

namespace octet {

void require_finite(const Checkpoint& checkpoint, std::string_view tensor, int64_t first_row,
                    int64_t k, std::span<const float> values) {
  for (size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      fail(ErrorCode::InvalidFile, checkpoint.path(), ": tensor '", tensor, "', row ",
           first_row + static_cast<int64_t>(i) / k, ", column ", static_cast<int64_t>(i) % k, ": ",
           values[i], " is not finite");
}

}  // namespace octet

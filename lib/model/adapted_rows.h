#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "lib/model/backend.h"

namespace octet {

/// Rows of a linear's input whose sequences have this adapter.
struct AdaptedRows {
  const AdapterImpl* adapter;
  int64_t first, count;
};

/// Of an input that holds `rows` of the batch; null: all of them.
void find_adapted_rows(const Batch& batch, const std::span<const int64_t>* rows,
                       std::vector<AdaptedRows>& found);

}  // namespace octet

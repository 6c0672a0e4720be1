#include "lib/model/adapted_rows.h"

namespace octet {

void find_adapted_rows(const Batch& batch, const std::span<const int64_t>* rows,
                       std::vector<AdaptedRows>& found) {
  found.clear();
  const int64_t count = rows ? static_cast<int64_t>(rows->size()) : batch.rows();
  const auto batch_row = [&](int64_t i) { return rows ? (*rows)[static_cast<size_t>(i)] : i; };
  int64_t i = 0;
  for (const Chunk& chunk : batch.chunks) {
    const int64_t first = i;
    while (i < count && batch_row(i) < chunk.first_row + chunk.rows) ++i;
    if (i == first) continue;
    for (const AdapterImpl* adapter : chunk.adapters) found.push_back({adapter, first, i - first});
  }
}

}  // namespace octet

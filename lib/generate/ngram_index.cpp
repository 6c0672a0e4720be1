#include "lib/generate/ngram_index.h"

#include <algorithm>
#include <bit>

namespace octet {

NgramIndex::NgramIndex(int64_t capacity) : ids_(static_cast<size_t>(capacity) + 1) {
  for (Table& table : tables_) {
    table.last.assign(std::bit_ceil(2 * ids_.size()), -1);  // at most half full
    table.earlier.resize(ids_.size());
  }
}

/// The entry of the n-gram that ends at position `end`: its own, or the free one it would take.
int32_t& NgramIndex::slot(Table& table, int64_t end) const {
  const auto gram = ids_.begin() + (end + 1 - table.n);
  uint64_t hash = 0;
  for (int64_t i = 0; i < table.n; ++i)
    hash = (hash ^ static_cast<uint32_t>(gram[i])) * 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio
  const size_t mask = table.last.size() - 1;
  for (size_t at = (hash >> 32) & mask;; at = (at + 1) & mask) {
    int32_t& entry = table.last[at];
    if (entry < 0) return entry;
    if (std::equal(gram, gram + table.n, ids_.begin() + (entry + 1 - table.n))) return entry;
  }
}

void NgramIndex::append(std::span<const int32_t> ids) {
  for (const int32_t id : ids) {
    ids_[static_cast<size_t>(size_)] = id;
    for (Table& table : tables_) {
      if (size_ + 1 < table.n) continue;
      int32_t& entry = slot(table, size_);
      table.earlier[static_cast<size_t>(size_)] = entry;
      entry = static_cast<int32_t>(size_);
    }
    ++size_;
  }
}

void NgramIndex::truncate(int64_t length) {
  // In reverse order, each entry that becomes free is the youngest of its probe sequence: no
  // other is cut off from its start.
  while (size_ > length) {
    --size_;
    for (Table& table : tables_)
      if (size_ + 1 >= table.n) slot(table, size_) = table.earlier[static_cast<size_t>(size_)];
  }
}

/// How many ids agree backwards from positions a < b.
int64_t NgramIndex::common_length(int64_t a, int64_t b) const {
  int64_t n = 0;
  while (n < longest && n <= a &&
         ids_[static_cast<size_t>(a - n)] == ids_[static_cast<size_t>(b - n)])
    ++n;
  return n;
}

int64_t NgramIndex::propose(int32_t id, std::span<int32_t> draft) {
  ids_[static_cast<size_t>(size_)] = id;
  for (Table& table : tables_) {
    if (size_ + 1 < table.n) continue;
    const int64_t end = slot(table, size_);
    if (end < 0) continue;
    for (size_t i = 0; i < draft.size(); ++i) {
      const auto from = static_cast<size_t>(end) + 1 + i, known = static_cast<size_t>(size_) + 1;
      draft[i] = from < known ? ids_[from] : draft[from - known];
    }
    return common_length(end, size_);
  }
  return 0;
}

}  // namespace octet

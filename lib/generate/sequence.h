#pragma once
#include <cstdint>
#include <vector>

#include "lib/model/kv_cache.h"
#include "lib/model/rope.h"

namespace octet {

struct AdapterImpl;

/// Token ids and their keys and values.
struct Sequence {
  /// pool and angles must outlive the sequence; who makes it reserves its blocks.
  Sequence(KvPool& pool, const Rope& angles, int64_t positions)
      : context(positions), rope(angles), cache(pool, positions) {
    tokens.reserve(static_cast<size_t>(positions));
  }

  int64_t size() const { return static_cast<int64_t>(tokens.size()); }
  void truncate(int64_t length) {
    tokens.resize(static_cast<size_t>(length));
    cache.release_from(length);
  }

  int64_t context;  ///< positions that fit
  const Rope& rope;
  KvCache cache;
  std::vector<const AdapterImpl*> adapters;  ///< who sets them keeps them alive
  std::vector<int32_t> tokens;               ///< ids whose keys and values are in the cache
};

}  // namespace octet

#pragma once
#include <octet/session.h>

#include <memory>

#include "lib/core/counted.h"
#include "lib/generate/lookup.h"
#include "lib/model/kv_cache.h"
#include "lib/model/rope.h"

namespace octet {

struct SessionImpl : Counted {
  SessionImpl(const Model& owner, int64_t positions);

  Model model;
  int64_t context;
  Rope rope;
  KvCache cache;
  std::vector<int32_t> tokens;  ///< ids whose keys and values are in the cache
  std::vector<ChatMessage> messages;
  int32_t pending = -1;  ///< the last token drawn, not yet evaluated
  GenerateStats stats;
  std::unique_ptr<Lookup> lookup;  ///< made by the first generation that uses it
};

}  // namespace octet

#include "lib/model/kv_cache.h"

#include <utility>

#include "kernels/types.h"

namespace octet {

KvCache::KvCache(KvPool& pool, int64_t context) : pool_(pool), max_blocks_(kv_blocks(context)) {
  blocks_.reserve(static_cast<size_t>(max_blocks_));
}

void KvCache::extend(int64_t length, int64_t rows) {
  for (int64_t block = length / kernels::kv_block; block < kv_blocks(length + rows); ++block)
    if (block == static_cast<int64_t>(blocks_.size()))
      blocks_.push_back(pool_.take(blocks_.empty() ? nullptr : blocks_.back()));
    else
      pool_.make_own(blocks_[static_cast<size_t>(block)], block * kernels::kv_block < length);
}

void KvCache::append_shared(KvBlock* block) {
  pool_.share(block);
  blocks_.push_back(block);
}

void KvCache::replace_shared(int64_t index, KvBlock* block) {
  pool_.share(block);
  pool_.release(std::exchange(blocks_[static_cast<size_t>(index)], block));
}

void KvCache::release_from(int64_t length) noexcept {
  const auto kept = static_cast<size_t>(kv_blocks(length));
  for (; blocks_.size() > kept; blocks_.pop_back()) pool_.release(blocks_.back());
}

}  // namespace octet

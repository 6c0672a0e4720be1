#pragma once
#include <span>

#include "lib/model/kv_pool.h"

namespace octet {

/// Keys and values of one sequence: a table of blocks out of a pool, some of which other sequences
/// may share. Who shares a block does not write to it.
class KvCache {
 public:
  /// For sequences of up to `context` positions. The pool must outlive the cache; whoever makes it
  /// reserves the blocks that it will take.
  KvCache(KvPool& pool, int64_t context);
  ~KvCache() { release_from(0); }
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  /// One block, layer and kv head.
  std::byte* keys(int64_t block, int64_t layer, int64_t kv_head) const {
    return blocks_[static_cast<size_t>(block)]->part(pool_.layout().keys(layer, kv_head));
  }
  std::byte* values(int64_t block, int64_t layer, int64_t kv_head) const {
    return blocks_[static_cast<size_t>(block)]->part(pool_.layout().values(layer, kv_head));
  }
  KvCacheType type() const { return pool_.layout().type; }
  KvPool& pool() const { return pool_; }
  std::span<KvBlock* const> blocks() const { return blocks_; }
  /// The most that blocks() can be.
  int64_t max_blocks() const { return max_blocks_; }

  /// Makes room for positions [length, length + rows) of a sequence of `length` positions: takes
  /// blocks, and copies one that is shared.
  void extend(int64_t length, int64_t rows);
  /// Appends a block of another sequence that begins with the same ids.
  void append_shared(KvBlock* block);
  /// Another sequence's block of the same content in place of this one's.
  void replace_shared(int64_t index, KvBlock* block);
  /// Gives up every block from position `length` on.
  void release_from(int64_t length) noexcept;

 private:
  KvPool& pool_;
  int64_t max_blocks_;
  std::vector<KvBlock*> blocks_;
};

}  // namespace octet

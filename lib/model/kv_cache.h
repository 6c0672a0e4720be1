#pragma once
#include <octet/model.h>

#include <cstddef>
#include <cstdint>

namespace octet {

/// Bytes of the keys and values of one position, all layers.
int64_t kv_bytes_per_token(const ModelConfig& config, KvCacheType type);

/// Keys and values of one sequence, in blocks of kernels::kv_block (64) positions:
///   block[layer]: keys of each kv head, then values of each, laid out as in kernels/types.h
/// Address space for the whole context is reserved at once; the system gives memory to a block
/// when it is first written.
class KvCache {
 public:
  /// Errors: OutOfMemory naming what is needed and what the machine has.
  KvCache(const ModelConfig& config, KvCacheType type, int64_t context);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  /// One block, layer and kv head.
  std::byte* keys(int64_t block, int64_t layer, int64_t kv_head) const {
    return base_ + block * block_bytes_ + (2 * layer * kv_heads_ + kv_head) * head_bytes_;
  }
  std::byte* values(int64_t block, int64_t layer, int64_t kv_head) const {
    return keys(block, layer, kv_head) + kv_heads_ * head_bytes_;
  }
  KvCacheType type() const { return type_; }
  int64_t num_blocks() const { return total_bytes_ / block_bytes_; }

  /// Gives the memory of every block from position `length` on back to the system.
  void release_from(int64_t length);

 private:
  KvCacheType type_;
  int64_t kv_heads_;
  int64_t head_bytes_;   // one block of one head's keys
  int64_t block_bytes_;  // one block, all layers
  int64_t total_bytes_;
  std::byte* base_ = nullptr;
};

}  // namespace octet

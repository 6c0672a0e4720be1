#pragma once
#include <octet/model.h>

#include <cstddef>
#include <cstdint>

namespace octet {

/// Bytes of the keys and values of one position, all layers.
int64_t kv_bytes_per_token(const ModelConfig& config, KvCacheType type);

/// What caches take their memory from.
class KvMemory {
 public:
  virtual ~KvMemory() = default;
  /// Errors: OutOfMemory naming what a cache of `context` tokens needs and what there is.
  virtual std::byte* take(int64_t bytes, int64_t context) = 0;
  virtual void give_back(std::byte* memory, int64_t bytes) noexcept = 0;
  /// The content of these bytes is not needed any more.
  virtual void discard(std::byte* memory, int64_t bytes) = 0;
};

/// Address space for all that is taken; the system gives memory to a page when it is first written.
KvMemory& host_kv_memory();

/// Keys and values of one sequence, in blocks of kernels::kv_block (64) positions:
///   block[layer]: keys of each kv head, then values of each, laid out as in kernels/types.h
/// Memory for the whole context is taken at once.
class KvCache {
 public:
  /// The memory must outlive the cache. Errors: OutOfMemory naming what is needed and what there
  /// is.
  KvCache(const ModelConfig& config, KvCacheType type, int64_t context,
          KvMemory& memory = host_kv_memory());
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
  std::byte* memory() const { return base_; }

  /// Discards every block from position `length` on.
  void release_from(int64_t length);

 private:
  KvMemory& memory_;
  KvCacheType type_;
  int64_t kv_heads_;
  int64_t head_bytes_;   // one block of one head's keys
  int64_t block_bytes_;  // one block, all layers
  int64_t total_bytes_;
  std::byte* base_ = nullptr;
};

}  // namespace octet

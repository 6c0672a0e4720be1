#pragma once
#include <octet/model.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace octet {

/// Bytes of the keys and values of one position, all layers.
int64_t kv_bytes_per_token(const ModelConfig& config, KvCacheType type);

/// What pools take their memory from.
class KvMemory {
 public:
  virtual ~KvMemory() = default;
  /// Zeroed. Errors: OutOfMemory naming what is needed for `positions` and what there is.
  virtual std::byte* take(int64_t bytes, int64_t positions) = 0;
  virtual void give_back(std::byte* memory, int64_t bytes) noexcept = 0;
  /// The content of these bytes is not needed any more: they may become zero, or stay.
  virtual void discard(std::byte* memory, int64_t bytes) noexcept = 0;
  virtual void copy(std::byte* to, const std::byte* from, int64_t bytes) = 0;
  /// From and to the host's memory.
  virtual void read(std::byte* host, const std::byte* from, int64_t bytes) = 0;
  virtual void write(std::byte* to, const std::byte* host, int64_t bytes) = 0;
};

/// Address space for all that is taken; the system gives memory to a page when it is first written.
KvMemory& host_kv_memory();

/// Where keys and values lie in a block of kernels::kv_block (64) positions:
///   block[layer]: keys of each kv head, then values of each, laid out as in kernels/types.h
struct KvLayout {
  KvLayout(const ModelConfig& config, KvCacheType cache_type);

  int64_t keys(int64_t layer, int64_t kv_head) const {
    return (2 * layer * kv_heads + kv_head) * head_bytes;
  }
  int64_t values(int64_t layer, int64_t kv_head) const {
    return keys(layer, kv_head) + kv_heads * head_bytes;
  }

  KvCacheType type;
  int64_t kv_heads;
  int64_t head_bytes;   ///< of one head's keys, or values
  int64_t block_bytes;  ///< all layers
};

/// Blocks that a context of so many positions needs.
int64_t kv_blocks(int64_t positions);

struct KvExtent;

/// 64 positions of keys and values, which several sequences may share.
struct KvBlock {
  std::byte* data;
  KvExtent* extent;
  KvBlock* next_free = nullptr;
  int64_t owners = 0;
};

/// The blocks of one model's sequences. Memory is taken when blocks are reserved, so that taking a
/// block later cannot fail. Thread-safe.
class KvPool {
 public:
  /// The memory must outlive the pool.
  KvPool(const ModelConfig& config, KvCacheType type, KvMemory& memory = host_kv_memory());
  ~KvPool();
  KvPool(const KvPool&) = delete;
  KvPool& operator=(const KvPool&) = delete;

  const KvLayout& layout() const { return layout_; }
  KvMemory& memory() const { return memory_; }

  /// Makes sure that so many blocks more can be taken. Errors: OutOfMemory naming both numbers.
  void reserve(int64_t blocks);
  /// Memory that nobody needs is given back.
  void unreserve(int64_t blocks) noexcept;

  /// A block with one owner. Precondition: fewer are in use than are reserved.
  KvBlock* take();
  /// One more owner.
  void share(KvBlock* block) noexcept;
  /// One less; the last one gives the block back.
  void release(KvBlock* block) noexcept;
  /// Makes `block` one that its owner has for itself, with the same content if it is to be kept.
  void make_own(KvBlock*& block, bool keep_content);

  int64_t blocks_in_use() const;
  int64_t blocks_reserved() const;

 private:
  KvBlock* take_locked();
  void release_locked(KvBlock* block) noexcept;

  const KvLayout layout_;
  KvMemory& memory_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<KvExtent>> extents_;
  int64_t capacity_ = 0, reserved_ = 0, used_ = 0;
};

/// Blocks reserved for as long as the object lives.
class KvReservation {
 public:
  KvReservation(KvPool& pool, int64_t blocks) : pool_(pool), blocks_(blocks) {
    pool_.reserve(blocks_);
  }
  ~KvReservation() { pool_.unreserve(blocks_); }
  KvReservation(const KvReservation&) = delete;
  KvReservation& operator=(const KvReservation&) = delete;

 private:
  KvPool& pool_;
  int64_t blocks_;
};

}  // namespace octet

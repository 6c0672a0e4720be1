#pragma once
#include <octet/function_ref.h>
#include <octet/model.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace octet {

/// Bytes of the keys and values of one position, all layers.
constexpr bool has_integers(KvCacheType type) {
  return type == KvCacheType::int16 || type == KvCacheType::int8;
}
int64_t kv_bytes_per_token(const ModelConfig& config, KvCacheType type);

/// What pools take their memory from.
class KvMemory {
 public:
  virtual ~KvMemory() = default;
  /// Of how many blocks the same part lies side by side (KvBlock).
  virtual int64_t blocks_per_slab() const = 0;
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

/// What a block of kernels::kv_block (64) positions consists of: for each layer the keys of each kv
/// head, then the values of each, a part each, laid out as in kernels/types.h.
struct KvLayout {
  KvLayout(const ModelConfig& config, KvCacheType cache_type);

  /// The number of a part.
  int64_t keys(int64_t layer, int64_t kv_head) const { return 2 * layer * kv_heads + kv_head; }
  int64_t values(int64_t layer, int64_t kv_head) const { return keys(layer, kv_head) + kv_heads; }

  KvCacheType type;
  int64_t kv_heads;
  int64_t parts;
  int64_t part_bytes;
  int64_t block_bytes;  ///< all parts
};

/// Blocks that a context of so many positions needs.
int64_t kv_blocks(int64_t positions);

struct KvSlab;

/// 64 positions of keys and values, which several sequences may share. Some blocks make a slab:
///   slab[part][block], part_bytes each
/// so that a head's keys of as many positions as attention reads at a time are one piece of memory,
/// which is read faster (Zen 4, fp16: 512 positions in 17.7 us, from 8 places in 20).
struct KvBlock {
  std::byte* data;  ///< its first part
  int64_t stride;   ///< bytes from part to part
  KvSlab* slab;
  int64_t owners = 0;

  std::byte* part(int64_t index) const { return data + index * stride; }
};

struct KvExtent;

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

  /// Makes sure that so many blocks more can be taken. Errors: OutOfMemory naming both numbers.
  void reserve(int64_t blocks);
  /// Memory that nobody needs is given back.
  void unreserve(int64_t blocks) noexcept;

  /// A block with one owner: the one beside `after` if that is free. Precondition: fewer are in use
  /// than are reserved.
  KvBlock* take(const KvBlock* after = nullptr);
  /// One more owner.
  void share(KvBlock* block) noexcept;
  /// One less; the last one gives the block back.
  void release(KvBlock* block) noexcept;
  /// Makes `block` one that its owner has for itself, with the same content if it is to be kept.
  void make_own(KvBlock*& block, bool keep_content);
  /// All parts of a block, one after the other, from and to the host's memory.
  void read(std::byte* host, const KvBlock& block) const;
  void write(const KvBlock& block, const std::byte* host) const;

  int64_t blocks_in_use() const;
  int64_t blocks_reserved() const;

 private:
  KvBlock* take_locked(const KvBlock* after);
  KvSlab& emptiest_slab() const;
  /// How many parts of a block lie one after the other.
  int64_t run_of(const KvBlock& block) const;
  /// Calls work(first part, bytes) for each run of so many parts.
  void each_run(int64_t run, FunctionRef<void(int64_t part, int64_t bytes)> work) const;
  void release_locked(KvBlock* block) noexcept;
  void keep_or_discard(KvSlab& slab) noexcept;

  const KvLayout layout_;
  KvMemory& memory_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<KvExtent>> extents_;
  int64_t capacity_ = 0, reserved_ = 0, used_ = 0;
  /// The slab that was freed last while no other was kept: if it is free, its memory has not been
  /// discarded, and the next sequence need not wait for the system to clear pages.
  KvSlab* spare_ = nullptr;
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

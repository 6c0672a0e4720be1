#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/types.h"
#include "lib/model/kv_pool.h"

namespace octet {

/// Full KV blocks by the ids that they and all blocks before them hold, so that sequences which
/// begin alike share them (the idea: Kwon et al. 2023, arXiv:2309.06180, section 4.4). A block is
/// in use by so many sequences, or idle: kept for later ones until its memory is needed, the least
/// recently used first. Ids are compared, not only their hashes: sequences of different users never
/// share what differs. Nothing is allocated after construction.
class PrefixIndex {
 public:
  /// No entry; as a parent: the beginning of a sequence.
  static constexpr int32_t none = -1;

  /// At most `capacity` blocks, out of this pool, which must outlive the index.
  PrefixIndex(KvPool& pool, int64_t capacity);
  ~PrefixIndex();

  /// The entry whose block holds these kernels::kv_block ids after its parent's; none.
  int32_t find(int32_t parent, std::span<const int32_t> ids) const;
  /// Adds one, in use once; the index shares the block. Precondition: find() is none, and the
  /// parent is in use.
  int32_t insert(int32_t parent, std::span<const int32_t> ids, KvBlock* block);
  KvBlock* block(int32_t entry) const { return at(entry).block; }
  bool idle(int32_t entry) const { return at(entry).users == 0; }

  void use(int32_t entry);
  /// An entry that nobody uses becomes the most recently used idle one.
  void unuse(int32_t entry);
  /// Drops the least recently used idle entry. Precondition: there is one.
  void evict();

  int64_t used() const { return size_ - idle_; }
  int64_t idle() const { return idle_; }

 private:
  struct Entry {
    uint64_t serial = 0;  ///< never given twice
    uint64_t parent = 0;  ///< its serial
    std::array<int32_t, kernels::kv_block> ids;
    KvBlock* block = nullptr;
    int64_t users = 0;
    int32_t next_in_bucket = none;
    int32_t older = none, newer = none;  ///< of the idle ones
  };

  const Entry& at(int32_t entry) const { return entries_[static_cast<size_t>(entry)]; }
  Entry& at(int32_t entry) { return entries_[static_cast<size_t>(entry)]; }
  uint64_t serial_of(int32_t entry) const { return entry == none ? 0 : at(entry).serial; }
  size_t bucket(uint64_t parent, std::span<const int32_t> ids) const;
  void unlink(int32_t entry);

  KvPool& pool_;
  std::vector<Entry> entries_;
  std::vector<int32_t> buckets_;
  int32_t free_ = none;                    ///< linked by next_in_bucket
  int32_t oldest_ = none, newest_ = none;  ///< idle
  int64_t size_ = 0, idle_ = 0;
  uint64_t last_serial_ = 0;
};

}  // namespace octet

#include "lib/generate/prefix_index.h"

#include <algorithm>
#include <bit>

namespace octet {

PrefixIndex::PrefixIndex(KvPool& pool, int64_t capacity)
    : pool_(pool),
      entries_(static_cast<size_t>(capacity)),
      buckets_(std::bit_ceil(2 * static_cast<size_t>(capacity)), none) {
  for (auto entry = static_cast<int32_t>(capacity); entry-- > 0;) {
    at(entry).next_in_bucket = free_;
    free_ = entry;
  }
}

PrefixIndex::~PrefixIndex() {
  for (const Entry& entry : entries_)
    if (entry.block) pool_.release(entry.block);
}

size_t PrefixIndex::bucket(uint64_t parent, std::span<const int32_t> ids) const {
  uint64_t hash = parent;
  for (int32_t id : ids) {
    hash = (hash ^ static_cast<uint32_t>(id)) * 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio
    hash ^= hash >> 32;
  }
  return hash & (buckets_.size() - 1);
}

int32_t PrefixIndex::find(int32_t parent, std::span<const int32_t> ids) const {
  const uint64_t serial = serial_of(parent);
  int32_t entry = buckets_[bucket(serial, ids)];
  while (entry != none &&
         (at(entry).parent != serial || !std::equal(ids.begin(), ids.end(), at(entry).ids.begin())))
    entry = at(entry).next_in_bucket;
  return entry;
}

int32_t PrefixIndex::insert(int32_t parent, std::span<const int32_t> ids, KvBlock* block) {
  const int32_t entry = free_;
  Entry& made = at(entry);
  free_ = made.next_in_bucket;
  made.serial = ++last_serial_;
  made.parent = serial_of(parent);
  std::copy(ids.begin(), ids.end(), made.ids.begin());
  made.block = block;
  made.users = 1;
  int32_t& first = buckets_[bucket(made.parent, ids)];
  made.next_in_bucket = first;
  first = entry;
  pool_.share(block);
  ++size_;
  return entry;
}

/// Takes an entry out of the list of idle ones.
void PrefixIndex::unlink(int32_t entry) {
  Entry& gone = at(entry);
  (gone.older == none ? oldest_ : at(gone.older).newer) = gone.newer;
  (gone.newer == none ? newest_ : at(gone.newer).older) = gone.older;
  gone.older = gone.newer = none;
  --idle_;
}

void PrefixIndex::use(int32_t entry) {
  if (at(entry).users++ == 0) unlink(entry);
}

void PrefixIndex::unuse(int32_t entry) {
  Entry& left = at(entry);
  if (--left.users > 0) return;
  left.older = newest_;
  (newest_ == none ? oldest_ : at(newest_).newer) = entry;
  newest_ = entry;
  ++idle_;
}

void PrefixIndex::evict() {
  const int32_t entry = oldest_;
  Entry& gone = at(entry);
  unlink(entry);
  int32_t* link = &buckets_[bucket(gone.parent, gone.ids)];
  while (*link != entry) link = &at(*link).next_in_bucket;
  *link = gone.next_in_bucket;
  pool_.release(gone.block);
  gone.block = nullptr;
  gone.next_in_bucket = free_;
  free_ = entry;
  --size_;
}

}  // namespace octet

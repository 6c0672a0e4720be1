#include "lib/text/bpe_merge.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace octet {
namespace {

constexpr uint32_t kNone = UINT32_MAX;
constexpr size_t kShortWord = 48;  // a scan beats a heap below this many ids

}  // namespace

MergeTable::MergeTable(std::span<const BpeMerge> merges) {
  const size_t capacity = std::bit_ceil(merges.size() + merges.size() / 2 + 2);
  shift_ = 64 - std::countr_zero(capacity);
  slots_.resize(capacity);
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const BpeMerge& merge = merges[rank];
    slots_[slot_of(merge.left, merge.right)] = {
        merge.left, merge.right, {static_cast<uint32_t>(rank), merge.result}};
  }
}

/// The pair's slot, or the empty one where it belongs.
size_t MergeTable::slot_of(int32_t left, int32_t right) const {
  const uint64_t key = static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
  size_t slot = static_cast<size_t>(key * 0x9E3779B97F4A7C15u >> shift_);
  while (slots_[slot].left != -1 && (slots_[slot].left != left || slots_[slot].right != right)) {
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

MergeTable::Found MergeTable::find(int32_t left, int32_t right) const {
  return slots_[slot_of(left, right)].found;
}

void BpeMerger::merge(std::vector<int32_t>& ids) {
  if (ids.size() < 2) return;
  if (ids.size() <= kShortWord) {
    merge_short(ids);
  } else {
    merge_long(ids);
  }
}

void BpeMerger::merge_short(std::vector<int32_t>& ids) {
  pairs_.clear();
  for (size_t i = 0; i + 1 < ids.size(); ++i) pairs_.push_back(table_.find(ids[i], ids[i + 1]));
  auto lower_rank = [](const auto& a, const auto& b) { return a.rank < b.rank; };
  while (!pairs_.empty()) {
    const auto best = std::min_element(pairs_.begin(), pairs_.end(), lower_rank);
    if (best->rank == MergeTable::kNoRank) return;
    const auto at = best - pairs_.begin();
    ids[static_cast<size_t>(at)] = best->result;
    ids.erase(ids.begin() + at + 1);
    pairs_.erase(best);
    const auto i = static_cast<size_t>(at);
    if (i > 0) pairs_[i - 1] = table_.find(ids[i - 1], ids[i]);
    if (i < pairs_.size()) pairs_[i] = table_.find(ids[i], ids[i + 1]);
  }
}

/// Looks up the pair that begins at `at` and queues it if it merges.
void BpeMerger::rate_pair(const std::vector<int32_t>& ids, uint32_t at) {
  Node& node = nodes_[at];
  node.pair = node.next == kNone ? MergeTable::Found{} : table_.find(ids[at], ids[node.next]);
  if (node.pair.rank == MergeTable::kNoRank) return;
  heap_.push_back(static_cast<uint64_t>(node.pair.rank) << 32 | at);
  std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
}

void BpeMerger::link(size_t count) {
  nodes_.clear();
  for (uint32_t i = 0; i < count; ++i) nodes_.push_back({i == 0 ? kNone : i - 1, i + 1, {}});
  nodes_.back().next = kNone;
}

uint64_t BpeMerger::pop() {
  std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
  const uint64_t top = heap_.back();
  heap_.pop_back();
  return top;
}

void BpeMerger::merge_long(std::vector<int32_t>& ids) {
  link(ids.size());
  heap_.clear();
  for (uint32_t i = 0; i < ids.size(); ++i) rate_pair(ids, i);
  while (!heap_.empty()) {
    const uint64_t top = pop();
    const auto at = static_cast<uint32_t>(top);
    Node& node = nodes_[at];
    if (node.pair.rank != top >> 32) continue;  // the pair changed after it was queued
    const uint32_t gone = node.next;
    ids[at] = node.pair.result;
    node.next = nodes_[gone].next;
    nodes_[gone].pair = {};
    if (node.next != kNone) nodes_[node.next].previous = at;
    rate_pair(ids, at);
    if (node.previous != kNone) rate_pair(ids, node.previous);
  }
  size_t kept = 0;
  for (uint32_t i = 0; i != kNone; i = nodes_[i].next) ids[kept++] = ids[i];
  ids.resize(kept);
}

}  // namespace octet

#pragma once
// The merging of byte-pair encoding, on token ids alone.
// Source: Sennrich, Haddow & Birch 2016, arXiv:1508.07909, section 3.2.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace octet {

/// Two neighbours become one token. A merge's rank is its place in the list.
struct BpeMerge {
  int32_t left, right, result;
};

/// From a pair of ids to its merge: open addressing, at most two thirds full.
class MergeTable {
 public:
  static constexpr uint32_t kNoRank = UINT32_MAX;
  struct Found {
    uint32_t rank = kNoRank;  ///< kNoRank: the pair does not merge
    int32_t result = -1;
  };

  /// Of two merges of one pair the later counts, as in Hugging Face tokenizers.
  explicit MergeTable(std::span<const BpeMerge> merges);
  Found find(int32_t left, int32_t right) const;

 private:
  struct Slot {
    int32_t left = -1, right = -1;
    Found found;
  };
  size_t slot_of(int32_t left, int32_t right) const;

  std::vector<Slot> slots_;
  int shift_;
};

/// Merges words; holds the scratch memory for that, so one per thread.
class BpeMerger {
 public:
  explicit BpeMerger(const MergeTable& table) : table_(table) {}

  /// Applies the merge of lowest rank, of those the leftmost, until none applies.
  /// O(n log n) for n ids.
  void merge(std::vector<int32_t>& ids);

 private:
  struct Node {
    uint32_t previous, next;
    MergeTable::Found pair;  // with the next node
  };
  void merge_short(std::vector<int32_t>& ids);
  void merge_long(std::vector<int32_t>& ids);
  void rate_pair(const std::vector<int32_t>& ids, uint32_t at);
  void link(size_t count);
  uint64_t pop();

  const MergeTable& table_;
  std::vector<MergeTable::Found> pairs_;
  std::vector<Node> nodes_;
  std::vector<uint64_t> heap_;  // rank in the high half, place in the low one
};

}  // namespace octet

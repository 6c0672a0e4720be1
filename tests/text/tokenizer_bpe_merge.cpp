// Merging against the definition, pair by pair.
#include <doctest/doctest.h>

#include <map>
#include <random>

#include "lib/text/bpe_merge.h"

using namespace octet;

namespace {

using Ranks = std::map<std::pair<int32_t, int32_t>, std::pair<size_t, int32_t>>;

/// The lowest rank first, of equal ones the leftmost.
std::vector<int32_t> merge_by_definition(const Ranks& ranks, std::vector<int32_t> ids) {
  for (;;) {
    size_t best = SIZE_MAX, best_rank = SIZE_MAX;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = ranks.find({ids[i], ids[i + 1]});
      if (found != ranks.end() && found->second.first < best_rank) {
        best = i;
        best_rank = found->second.first;
      }
    }
    if (best == SIZE_MAX) return ids;
    ids[best] = ranks.at({ids[best], ids[best + 1]}).second;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

}  // namespace

TEST_CASE("merging equals the definition on random vocabularies and words of every length") {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    const auto bytes = 2 + static_cast<int32_t>(random() % 4);
    std::vector<BpeMerge> merges;
    Ranks ranks;
    for (int32_t id = bytes; id < 40; ++id) {
      const BpeMerge merge{static_cast<int32_t>(random() % static_cast<uint32_t>(id)),
                           static_cast<int32_t>(random() % static_cast<uint32_t>(id)), id};
      if (!ranks.emplace(std::pair(merge.left, merge.right), std::pair(merges.size(), id)).second) {
        continue;
      }
      merges.push_back(merge);
    }
    const MergeTable table(merges);
    BpeMerger merger(table);
    for (size_t length = 0; length < 150; ++length) {
      std::vector<int32_t> word(length);
      for (int32_t& id : word) id = static_cast<int32_t>(random() % static_cast<uint32_t>(bytes));
      const auto expected = merge_by_definition(ranks, word);
      merger.merge(word);
      CHECK(word == expected);
    }
  }
}

// Quadratic time would be hours, and fail by CTest's time limit.
TEST_CASE("a word of a million bytes takes no quadratic time") {
  std::vector<BpeMerge> merges;  // 0 0 -> 1, 1 1 -> 2, ...
  for (int32_t id = 0; id < 12; ++id) merges.push_back({id, id, id + 1});
  const MergeTable table(merges);
  BpeMerger merger(table);
  std::vector<int32_t> word(1 << 20, 0);
  merger.merge(word);
  CHECK(word == std::vector<int32_t>((1 << 20) >> 12, 12));
}

TEST_CASE("without merges a word stays as it is") {
  const MergeTable table({});
  BpeMerger merger(table);
  std::vector<int32_t> word{1, 2, 3};
  merger.merge(word);
  CHECK(word == std::vector<int32_t>{1, 2, 3});
}

#include "lib/generate/ngram_index.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

using namespace octet;

namespace {

struct Proposal {
  int64_t length = 0;
  std::vector<int32_t> draft;
};

/// The same by search: the last earlier place of the longest of 6, 3, 2 ids.
Proposal naive(std::vector<int32_t> ids, int32_t id, size_t count) {
  ids.push_back(id);
  const size_t end = ids.size() - 1;
  for (size_t n : {6, 3, 2}) {
    for (size_t place = end; place-- > 0 && place + 1 >= n;) {
      size_t same = 0;
      while (same <= place && same < 8 && ids[place - same] == ids[end - same]) ++same;
      if (same < n) continue;
      for (size_t i = 1; i <= count; ++i) ids.push_back(ids[place + i]);
      return {static_cast<int64_t>(same), {ids.begin() + end + 1, ids.end()}};
    }
  }
  return {};
}

void check_proposals(NgramIndex& index, const std::vector<int32_t>& ids, int32_t vocab) {
  for (int32_t id = 0; id < vocab; ++id) {
    std::vector<int32_t> draft(7);
    const int64_t length = index.propose(id, draft);
    const Proposal expected = naive(ids, id, draft.size());
    REQUIRE(length == expected.length);
    if (length > 0) REQUIRE(draft == expected.draft);
  }
}

}  // namespace

TEST_CASE("the n-gram index finds what a search finds, while the sequence grows and shrinks") {
  for (const int32_t vocab : {1, 2, 3, 8, 30}) {
    CAPTURE(vocab);
    std::mt19937 random(static_cast<uint32_t>(vocab));
    NgramIndex index(200);
    std::vector<int32_t> ids;
    for (int round = 0; round < 60; ++round) {
      CAPTURE(round);
      std::vector<int32_t> more(random() % (201 - ids.size()));
      if (round % 3) more.resize(std::min<size_t>(more.size(), 5));
      for (int32_t& id : more) id = static_cast<int32_t>(random() % static_cast<uint32_t>(vocab));
      index.append(more);
      ids.insert(ids.end(), more.begin(), more.end());
      check_proposals(index, ids, vocab);
      ids.resize(ids.size() - random() % (ids.size() + 1) / (round % 5 + 1));
      index.truncate(static_cast<int64_t>(ids.size()));
      REQUIRE(index.size() == static_cast<int64_t>(ids.size()));
      check_proposals(index, ids, vocab);
    }
  }
}

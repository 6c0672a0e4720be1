#include "lib/generate/token_constraint.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace octet {
namespace {

/// Of 19 KB each, for a vocabulary of 152,000. All are dropped when there are more.
constexpr size_t max_masks = 512;
constexpr size_t word_bits = 64;

}  // namespace

TokenConstraint::TokenConstraint(std::shared_ptr<const Nfa> nfa,
                                 std::shared_ptr<const TokenTrie> trie)
    : trie_(std::move(trie)), automaton_(std::move(nfa)) {}

/// Preorder, a state for each byte of the path; where there is none, the subtree is left out.
TokenConstraint::Mask TokenConstraint::walk(int32_t state) {
  Mask mask(static_cast<size_t>(trie_->vocabulary()) / word_bits + 1);
  std::vector<int32_t> path(static_cast<size_t>(trie_->max_depth()) + 1);
  path[0] = state;
  const std::vector<TokenTrie::Node>& nodes = trie_->nodes();
  for (size_t i = 0; i + 1 < nodes.size();) {
    const TokenTrie::Node& node = nodes[i];
    const int32_t next = automaton_.next(path[node.depth - 1u], node.byte);
    if (next == dead) {
      i = static_cast<size_t>(node.end);
      continue;
    }
    path[node.depth] = next;
    for (int32_t t = node.first_token; t < nodes[i + 1].first_token; ++t) {
      const auto id = static_cast<size_t>(trie_->tokens()[static_cast<size_t>(t)]);
      mask[id / word_bits] |= uint64_t{1} << id % word_bits;
    }
    ++i;
  }
  return mask;
}

const TokenConstraint::Mask& TokenConstraint::mask(int32_t state) {
  const auto i = static_cast<size_t>(state);
  if (i < masks_.size() && masks_[i]) return *masks_[i];
  auto made = std::make_unique<Mask>(walk(state));
  if (kept_masks_ == max_masks) {
    masks_.clear();
    kept_masks_ = 0;
  }
  if (masks_.size() <= i) masks_.resize(i + 1);
  masks_[i] = std::move(made);
  ++kept_masks_;
  return *masks_[i];
}

void TokenConstraint::apply(int32_t state, std::span<float> logits) {
  constexpr float never = -std::numeric_limits<float>::infinity();
  std::lock_guard lock(mutex_);
  const Mask& allowed = mask(state);
  for (size_t word = 0; word * word_bits < logits.size(); ++word) {
    const auto part = logits.subspan(word * word_bits);
    const size_t count = std::min(part.size(), word_bits);
    uint64_t forbidden = word < allowed.size() ? ~allowed[word] : ~uint64_t{0};
    if (forbidden == ~uint64_t{0}) {
      std::fill_n(part.begin(), count, never);
      continue;
    }
    for (; forbidden != 0; forbidden &= forbidden - 1) {
      const auto bit = static_cast<size_t>(std::countr_zero(forbidden));
      if (bit >= count) break;
      part[bit] = never;
    }
  }
}

int32_t TokenConstraint::after(int32_t state, int32_t id) {
  const std::string_view bytes = trie_->bytes(id);
  if (bytes.empty()) return dead;
  std::lock_guard lock(mutex_);
  for (char byte : bytes) {
    state = automaton_.next(state, static_cast<uint8_t>(byte));
    if (state == dead) return dead;
  }
  return state;
}

bool TokenConstraint::accepts(int32_t state) const {
  std::lock_guard lock(mutex_);
  return automaton_.accepts(state);
}
bool TokenConstraint::goes_on(int32_t state) const {
  std::lock_guard lock(mutex_);
  return automaton_.goes_on(state);
}
int64_t TokenConstraint::distance(int32_t state) const {
  std::lock_guard lock(mutex_);
  return automaton_.distance(state);
}
std::vector<int32_t> TokenConstraint::shortest_end(int32_t state) {
  std::lock_guard lock(mutex_);
  return trie_->tokenize(automaton_.shortest_end(state));
}

}  // namespace octet

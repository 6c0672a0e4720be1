#pragma once
#include <octet/constraint.h>

#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "lib/generate/constraint_automaton.h"
#include "lib/text/token_trie.h"

namespace octet {

/// A constraint over the tokens of one vocabulary: which may follow, as a mask for each state of
/// the automaton, made when it is first needed by one walk over the vocabulary's tree (Willard &
/// Louf 2023, arXiv:2307.09702) and kept. Thread-safe.
class TokenConstraint {
 public:
  TokenConstraint(std::shared_ptr<const Nfa> nfa, std::shared_ptr<const TokenTrie> trie);

  static constexpr int32_t dead = ConstraintAutomaton::dead;
  int32_t start() const { return 0; }
  /// Forbids (-infinity) every id that must not follow.
  void apply(int32_t state, std::span<float> logits);
  /// The state after a token; dead if it must not follow.
  int32_t after(int32_t state, int32_t id);
  /// Whether the text may end here, and whether it may go on.
  bool accepts(int32_t state) const;
  bool goes_on(int32_t state) const;
  /// Tokens that the shortest text from here takes, at most.
  int64_t distance(int32_t state) const;
  /// That text, in tokens. Errors: Unsupported if the vocabulary cannot spell it.
  std::vector<int32_t> shortest_end(int32_t state);

 private:
  using Mask = std::vector<uint64_t>;  // a bit an id
  const Mask& mask(int32_t state);
  Mask walk(int32_t state);

  const std::shared_ptr<const TokenTrie> trie_;
  mutable std::mutex mutex_;
  ConstraintAutomaton automaton_;
  std::vector<std::unique_ptr<Mask>> masks_;  // by state
  size_t kept_masks_ = 0;
};

/// The constraint for a vocabulary; the same one each time, as long as anybody has it.
std::shared_ptr<TokenConstraint> token_constraint(const Constraint& constraint,
                                                  const std::shared_ptr<const TokenTrie>& trie);

}  // namespace octet

#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "lib/generate/constraint_nfa.h"

namespace octet {

/// The deterministic automaton of an Nfa. A state is made when it is first reached, a transition
/// when it is first taken. Not thread-safe.
class ConstraintAutomaton {
 public:
  static constexpr int32_t dead = -1;

  explicit ConstraintAutomaton(std::shared_ptr<const Nfa> nfa);

  int32_t start() const { return 0; }
  /// dead: no text goes on like this. Errors: Unsupported if there are too many states.
  int32_t next(int32_t state, uint8_t byte);
  bool accepts(int32_t state) const { return at(state).accepts; }
  /// Whether a text can be longer.
  bool goes_on(int32_t state) const { return at(state).goes_on; }
  /// Bytes that the shortest text from here has.
  int64_t distance(int32_t state) const { return at(state).distance; }
  /// That text.
  std::string shortest_end(int32_t state);
  int64_t size() const { return static_cast<int64_t>(states_.size()); }

 private:
  static constexpr int32_t unknown = -2;
  struct State {
    std::vector<int32_t> members;  ///< states of the Nfa with edges, or the end; rising
    bool accepts = false, goes_on = false;
    int32_t distance = Nfa::unreachable;
    std::array<int32_t, 256> next;
  };

  const State& at(int32_t state) const { return *states_[static_cast<size_t>(state)]; }
  void add_closure(int32_t member);
  int32_t intern();

  const std::shared_ptr<const Nfa> nfa_;
  std::vector<std::unique_ptr<State>> states_;
  std::unordered_map<uint64_t, std::vector<int32_t>> by_hash_;
  // The set under construction.
  std::vector<int32_t> members_, stack_;
  std::vector<uint32_t> seen_;  // of each state of the Nfa: the set it was last put into
  uint32_t set_ = 0;
};

}  // namespace octet

#pragma once
#include <cstdint>
#include <vector>

#include "lib/generate/constraint_grammar.h"

namespace octet {

/// A nondeterministic automaton over bytes, made from a grammar as by Thompson (1968).
struct Nfa {
  struct Edge {
    uint8_t low, high;  ///< bytes, both included
    int32_t target;
  };
  struct State {
    std::vector<Edge> edges;
    std::vector<int32_t> empty;  ///< targets of transitions that read nothing
  };

  /// Errors: InvalidArgument if no text matches; Unsupported if it takes too many states.
  explicit Nfa(const Grammar& grammar);

  std::vector<State> states;
  int32_t start, accept;
  /// Bytes from a state to the end, at least; `unreachable` if there is no way.
  std::vector<int32_t> distance;
  static constexpr int32_t unreachable = INT32_MAX;
};

}  // namespace octet

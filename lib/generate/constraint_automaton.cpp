#include "lib/generate/constraint_automaton.h"

#include <algorithm>

#include "lib/core/error.h"

namespace octet {
namespace {

constexpr size_t max_states = 50'000;

}  // namespace

ConstraintAutomaton::ConstraintAutomaton(std::shared_ptr<const Nfa> nfa)
    : nfa_(std::move(nfa)), seen_(nfa_->states.size()) {
  ++set_;
  add_closure(nfa_->start);
  intern();
}

/// Adds what can be reached without reading. States from which the end cannot be reached stay out,
/// so that no text leads into a state without a way on.
void ConstraintAutomaton::add_closure(int32_t member) {
  stack_.push_back(member);
  while (!stack_.empty()) {
    const int32_t index = stack_.back();
    const auto i = static_cast<size_t>(index);
    stack_.pop_back();
    if (seen_[i] == set_ || nfa_->distance[i] == Nfa::unreachable) continue;
    seen_[i] = set_;
    if (index == nfa_->accept || !nfa_->states[i].edges.empty()) members_.push_back(index);
    for (int32_t target : nfa_->states[i].empty) stack_.push_back(target);
  }
}

/// The state that stands for the set, which is used up.
int32_t ConstraintAutomaton::intern() {
  std::sort(members_.begin(), members_.end());
  uint64_t hash = 0;
  for (int32_t member : members_) {
    hash = (hash ^ static_cast<uint32_t>(member)) * 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio
    hash ^= hash >> 32;
  }
  std::vector<int32_t>& same = by_hash_[hash];
  for (int32_t state : same)
    if (at(state).members == members_) {
      members_.clear();
      return state;
    }
  require(states_.size() < max_states, ErrorCode::Unsupported,
          "the constraint's automaton has more than ", max_states, " states");
  auto made = std::make_unique<State>();
  made->next.fill(unknown);
  for (int32_t member : members_) {
    const auto i = static_cast<size_t>(member);
    made->accepts |= member == nfa_->accept;
    made->distance = std::min(made->distance, nfa_->distance[i]);
    for (const Nfa::Edge& edge : nfa_->states[i].edges)
      made->goes_on |= nfa_->distance[static_cast<size_t>(edge.target)] != Nfa::unreachable;
  }
  made->members.swap(members_);
  members_.clear();
  same.push_back(static_cast<int32_t>(states_.size()));
  states_.push_back(std::move(made));
  return same.back();
}

int32_t ConstraintAutomaton::next(int32_t state, uint8_t byte) {
  State& from = *states_[static_cast<size_t>(state)];
  int32_t& known = from.next[byte];
  if (known != unknown) return known;
  ++set_;
  for (int32_t member : from.members)
    for (const Nfa::Edge& edge : nfa_->states[static_cast<size_t>(member)].edges)
      if (edge.low <= byte && byte <= edge.high) add_closure(edge.target);
  const int32_t found = members_.empty() ? dead : intern();
  return known = found;
}

std::string ConstraintAutomaton::shortest_end(int32_t state) {
  std::string text;
  while (at(state).distance > 0) {
    const int64_t wanted = at(state).distance - 1;
    const auto leads_on = [&](int byte) {
      const int32_t after = next(state, static_cast<uint8_t>(byte));
      return after != dead && at(after).distance == wanted;
    };
    int byte = ' ';  // printable ones first
    while (byte < 256 + ' ' && !leads_on(byte % 256)) ++byte;
    require(byte < 256 + ' ', ErrorCode::Internal, "constraint: no way to the end of the text");
    text += static_cast<char>(byte % 256);
    state = next(state, static_cast<uint8_t>(byte % 256));
  }
  return text;
}

}  // namespace octet

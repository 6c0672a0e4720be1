#include "lib/generate/constraint_nfa.h"

#include <algorithm>
#include <array>
#include <deque>

#include "lib/core/error.h"

namespace octet {
namespace {

constexpr size_t max_states = 400'000;

/// Writes a grammar's automaton between two states.
class NfaBuilder {
 public:
  explicit NfaBuilder(Nfa& nfa) : nfa_(nfa) {}

  int32_t add_state() {
    require(nfa_.states.size() < max_states, ErrorCode::Unsupported,
            "the constraint takes more than ", max_states, " states (large repetitions?)");
    nfa_.states.emplace_back();
    return static_cast<int32_t>(nfa_.states.size()) - 1;
  }

  void build(const Grammar& grammar, int32_t from, int32_t to) {
    switch (grammar.kind) {
      case Grammar::Kind::set:
        return set(grammar.ranges, from, to);
      case Grammar::Kind::sequence:
        return sequence(grammar.parts, from, to);
      case Grammar::Kind::either:
        for (const GrammarPtr& part : grammar.parts) build(*part, from, to);
        return;
      case Grammar::Kind::list:
        return list(grammar, from, to);
      case Grammar::Kind::members:
        return members(grammar, from, to);
    }
  }

 private:
  Nfa::State& state(int32_t index) { return nfa_.states[static_cast<size_t>(index)]; }
  void skip(int32_t from, int32_t to) { state(from).empty.push_back(to); }

  void sequence(const std::vector<GrammarPtr>& parts, int32_t from, int32_t to) {
    // Enters and leaves by states of its own: a part may have a loop at its beginning.
    for (const GrammarPtr& part : parts) {
      const int32_t end = add_state();
      build(*part, from, end);
      from = end;
    }
    skip(from, to);
  }

  void list(const Grammar& grammar, int32_t from, int32_t to) {
    const Grammar &item = *grammar.parts[0], &separator = *grammar.parts[1];
    if (grammar.least == 0) skip(from, to);
    if (grammar.most == 0) return;
    const bool endless = grammar.most < 0;
    const int64_t copies = endless ? std::max<int64_t>(grammar.least, 1) : grammar.most;
    int32_t begin = add_state();
    skip(from, begin);
    for (int64_t i = 1; i <= copies; ++i) {
      const int32_t end = add_state();
      build(item, begin, end);
      if (i >= grammar.least) skip(end, to);
      if (i == copies && !endless) return;
      const int32_t next = i == copies ? begin : add_state();
      build(separator, end, next);
      begin = next;
    }
  }

  /// Two tracks: before the first member that is there, and after one, where a separator is needed.
  void members(const Grammar& grammar, int32_t from, int32_t to) {
    const Grammar& separator = *grammar.parts.back();
    int32_t first = add_state(), later = add_state();
    skip(from, first);
    for (size_t i = 0; i + 1 < grammar.parts.size(); ++i) {
      const int32_t begin = add_state(), next_first = add_state(), next_later = add_state();
      skip(first, begin);
      build(separator, later, begin);
      build(*grammar.parts[i], begin, next_later);
      if (!grammar.needed[i]) {
        skip(first, next_first);
        skip(later, next_later);
      }
      first = next_first;
      later = next_later;
    }
    skip(first, to);
    skip(later, to);
  }

  /// Code points as UTF-8: ranges of equal length, cut until each is a range of every byte.
  void set(const std::vector<CodeRange>& ranges, int32_t from, int32_t to) {
    // tail[n]: from here n continuation bytes, of any value, lead to `to`.
    std::array<int32_t, 4> tail = {to, -1, -1, -1};
    const auto any_tail = [&](size_t count) {
      for (size_t n = 1; n <= count; ++n)
        if (tail[n] < 0) {
          tail[n] = add_state();
          state(tail[n]).edges.push_back({0x80, 0xbf, tail[n - 1]});
        }
      return tail[count];
    };
    for (const CodeRange& range : ranges)
      for (const auto& [low, high] : {CodeRange{0, 0x7f},
                                      {0x80, 0x7ff},
                                      {0x800, 0xd7ff},
                                      {0xe000, 0xffff},
                                      {0x10000, last_code_point}})
        if (range.low <= high && range.high >= low)
          equal_length(std::max(range.low, low), std::min(range.high, high), from, to, any_tail);
  }

  template <class AnyTail>
  void equal_length(uint32_t low, uint32_t high, int32_t from, int32_t to,
                    const AnyTail& any_tail) {
    for (int bits = 6; bits <= 18; bits += 6) {
      const uint32_t mask = (1u << bits) - 1;
      if ((low & ~mask) == (high & ~mask) || high < 0x80) continue;
      if (low & mask) {
        equal_length(low, low | mask, from, to, any_tail);
        return equal_length((low | mask) + 1, high, from, to, any_tail);
      }
      if ((high & mask) != mask) {
        equal_length(low, (high & ~mask) - 1, from, to, any_tail);
        return equal_length(high & ~mask, high, from, to, any_tail);
      }
    }
    const std::vector<uint8_t> first = encode(low), last = encode(high);
    for (size_t i = 0; i < first.size(); ++i) {
      // From here on, all continuation bytes of any value?
      size_t any = i + 1;
      while (any < first.size() && first[any] == 0x80 && last[any] == 0xbf) ++any;
      const bool rest_is_any = any == first.size();
      const int32_t next = i + 1 == first.size() ? to
                           : rest_is_any         ? any_tail(first.size() - i - 1)
                                                 : add_state();
      state(from).edges.push_back({first[i], last[i], next});
      if (rest_is_any) return;
      from = next;
    }
  }

  static std::vector<uint8_t> encode(uint32_t code) {
    const auto byte = [](uint32_t value) { return static_cast<uint8_t>(value); };
    const auto tail = [&](int shift) { return byte(0x80 | (code >> shift & 0x3f)); };
    const uint32_t c = code;
    if (c < 0x80) return {byte(c)};
    if (c < 0x800) return {byte(0xc0 | c >> 6), tail(0)};
    if (c < 0x10000) return {byte(0xe0 | c >> 12), tail(6), tail(0)};
    return {byte(0xf0 | c >> 18), tail(12), tail(6), tail(0)};
  }

  Nfa& nfa_;
};

/// Breadth first from the end, against the edges; a transition that reads nothing costs nothing.
std::vector<int32_t> distances(const Nfa& nfa) {
  struct Back {
    int32_t source, cost;
  };
  std::vector<std::vector<Back>> back(nfa.states.size());
  for (size_t i = 0; i < nfa.states.size(); ++i) {
    const auto source = static_cast<int32_t>(i);
    for (int32_t target : nfa.states[i].empty)
      back[static_cast<size_t>(target)].push_back({source, 0});
    for (const Nfa::Edge& edge : nfa.states[i].edges)
      back[static_cast<size_t>(edge.target)].push_back({source, 1});
  }
  std::vector<int32_t> distance(nfa.states.size(), Nfa::unreachable);
  distance[static_cast<size_t>(nfa.accept)] = 0;
  std::deque<int32_t> queue = {nfa.accept};
  while (!queue.empty()) {
    const auto at = static_cast<size_t>(queue.front());
    queue.pop_front();
    for (const Back& edge : back[at]) {
      int32_t& known = distance[static_cast<size_t>(edge.source)];
      if (distance[at] + edge.cost >= known) continue;
      known = distance[at] + edge.cost;
      edge.cost == 0 ? queue.push_front(edge.source) : queue.push_back(edge.source);
    }
  }
  return distance;
}

}  // namespace

Nfa::Nfa(const Grammar& grammar) {
  NfaBuilder builder(*this);
  start = builder.add_state();
  accept = builder.add_state();
  builder.build(grammar, start, accept);
  distance = distances(*this);
  require(distance[static_cast<size_t>(start)] != unreachable, ErrorCode::InvalidArgument,
          "no text fulfils the constraint");
}

}  // namespace octet

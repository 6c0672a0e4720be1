#include <octet/constraint.h>

#include <algorithm>
#include <list>
#include <mutex>

#include "lib/core/counted.h"
#include "lib/generate/token_constraint.h"

namespace octet {

struct ConstraintImpl : Counted {
  explicit ConstraintImpl(std::shared_ptr<const Nfa> automaton) : nfa(std::move(automaton)) {}

  const std::shared_ptr<const Nfa> nfa;
  std::mutex mutex;
  std::vector<std::pair<std::shared_ptr<const TokenTrie>, std::shared_ptr<TokenConstraint>>> uses;
};

void retain(ConstraintImpl* impl) noexcept {
  retain_counted(impl);
}
void release(ConstraintImpl* impl) noexcept {
  release_counted(impl);
}

namespace {

/// The constraints made last: a server gets the same schema with each request, and what was worked
/// out for it (automaton, masks) is worth keeping.
class RecentConstraints {
 public:
  template <class Make>
  Handle<ConstraintImpl> get(const std::string& source, const Make& make) {
    std::lock_guard lock(mutex_);
    auto found = std::find_if(recent_.begin(), recent_.end(),
                              [&](const auto& one) { return one.first == source; });
    if (found == recent_.end()) {
      Handle<ConstraintImpl> made(new ConstraintImpl(std::make_shared<const Nfa>(*make())));
      if (recent_.size() == most) recent_.pop_back();
      recent_.emplace_front(source, std::move(made));
      found = recent_.begin();
    }
    recent_.splice(recent_.begin(), recent_, found);
    return recent_.front().second;
  }

 private:
  static constexpr size_t most = 8;
  std::mutex mutex_;
  std::list<std::pair<std::string, Handle<ConstraintImpl>>> recent_;  // the latest first
};

template <class Make>
Handle<ConstraintImpl> recent(const std::string& source, const Make& make) {
  static RecentConstraints constraints;
  return constraints.get(source, make);
}

}  // namespace

Constraint Constraint::json_schema(std::string_view schema) {
  return Constraint(
      recent("json:" + std::string(schema), [&] { return json_schema_grammar(schema); }));
}
Constraint Constraint::json_object() {
  return json_schema(R"({"type": "object"})");
}
Constraint Constraint::regex(std::string_view pattern) {
  return Constraint(recent("regex:" + std::string(pattern),
                           [&] { return regex_grammar(pattern, "the expression"); }));
}

std::shared_ptr<TokenConstraint> token_constraint(const Constraint& constraint,
                                                  const std::shared_ptr<const TokenTrie>& trie) {
  ConstraintImpl& impl = *constraint.impl();
  std::lock_guard lock(impl.mutex);
  for (const auto& [known, use] : impl.uses)
    if (known == trie) return use;
  impl.uses.emplace_back(trie, std::make_shared<TokenConstraint>(impl.nfa, trie));
  return impl.uses.back().second;
}

}  // namespace octet

#include "lib/generate/thinking.h"

#include <algorithm>

#include "lib/core/error.h"

namespace octet {

Thinking::Thinking(const Model& model, const ThinkBudget& budget, std::span<const int32_t> prompt)
    : budget_(budget) {
  require(budget.max_tokens >= -1, ErrorCode::InvalidArgument, "think.max_tokens is ",
          budget.max_tokens, ", -1 (no cap) or more expected");
  if (!model.has_tokenizer() || (!budget.separate && budget.max_tokens < 0)) return;
  const Tokenizer& tokenizer = model.tokenizer();
  open_ = tokenizer.find("<think>");
  close_ = tokenizer.find("</think>");
  known_ = open_ >= 0 && close_ >= 0;
  if (!known_) return;
  closing_ = tokenizer.encode("\n");
  closing_.push_back(close_);
  through_tag_ = closing_.size();
  const std::vector<int32_t> after = tokenizer.encode("\n\n");
  closing_.insert(closing_.end(), after.begin(), after.end());
  const auto last =
      std::find_if(prompt.rbegin(), prompt.rend(), [&](int32_t id) { return is_tag(id); });
  inside_ = last != prompt.rend() && *last == open_;
}

void Thinking::accept(int32_t id) {
  if (!known_) return;
  if (inside_) ++tokens_;
  if (is_tag(id)) inside_ = id == open_;
}

std::span<const int32_t> Thinking::closing(bool constrained) const {
  return std::span(closing_).first(constrained ? through_tag_ : closing_.size());
}

}  // namespace octet

#pragma once
#include <octet/generate.h>

#include <span>
#include <vector>

namespace octet {

/// Where an answer stands between <think> and </think>, and when its budget is used up.
class Thinking {
 public:
  /// prompt: its last tag tells whether the answer begins inside.
  Thinking(const Model& model, const ThinkBudget& budget, std::span<const int32_t> prompt);

  bool inside() const { return inside_; }
  /// Whether reasoning and answer are given out apart.
  bool separate() const { return known_ && budget_.separate; }
  bool is_tag(int32_t id) const { return known_ && (id == open_ || id == close_); }
  /// Whether the answer may still begin with reasoning.
  bool may_open(int64_t generated) const { return known_ && generated == 0 && !inside_; }
  int32_t open_tag() const { return open_; }

  /// After a token of the answer.
  void accept(int32_t id);
  int64_t tokens() const { return tokens_; }
  /// Whether the reasoning has used up its budget.
  bool used_up() const {
    return inside_ && budget_.max_tokens >= 0 && tokens_ >= budget_.max_tokens;
  }
  /// The tokens that close the reasoning and, unless the answer is constrained, begin a paragraph.
  std::span<const int32_t> closing(bool constrained) const;

 private:
  ThinkBudget budget_;
  bool known_ = false;  // the vocabulary has the tags, and the budget asks for something
  int32_t open_ = -1, close_ = -1;
  std::vector<int32_t> closing_;
  size_t through_tag_ = 0;  // of closing_: the tokens up to the tag
  bool inside_ = false;
  int64_t tokens_ = 0;
};

}  // namespace octet

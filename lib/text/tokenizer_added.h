#pragma once
// Added tokens (<|im_end|>, <think>, ...): pieces of text that become one id before anything else
// looks at them.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace octet {

struct AddedToken {
  std::string text;
  int32_t id = 0;
  bool special = false;     ///< left out when decoding without special tokens
  bool normalized = false;  ///< looked for after normalization, not before
};

/// Longer ones are refused: matching costs up to this for each byte of the text.
inline constexpr size_t kMaxAddedTokenBytes = 1024;

/// Finds added tokens in text: the leftmost, and there the longest.
class AddedTokenMatcher {
 public:
  struct Match {
    size_t begin = 0, end = 0;
    int32_t id = -1;
  };

  AddedTokenMatcher() = default;
  /// The tokens' texts are not empty and differ from one another.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }
  /// False if there is none at or after `from`.
  bool find(std::string_view text, size_t from, Match& match) const;
  /// The id of the token with exactly this text; -1: none.
  int32_t find_exact(std::string_view text) const;

 private:
  bool match_at(std::string_view text, size_t at, Match& match) const;

  std::vector<AddedToken> tokens_;  // sorted by text
  bool first_bytes_[256] = {};
};

/// Cuts text at its added tokens: on_text(std::string_view) for what lies between them (never
/// empty), on_token(int32_t) for each of them, in order.
template <class OnText, class OnToken>
void split_at_added_tokens(const AddedTokenMatcher& matcher, std::string_view text,
                           const OnText& on_text, const OnToken& on_token) {
  size_t at = 0;
  for (AddedTokenMatcher::Match match; matcher.find(text, at, match); at = match.end) {
    if (match.begin > at) on_text(text.substr(at, match.begin - at));
    on_token(match.id);
  }
  if (at < text.size()) on_text(text.substr(at));
}

}  // namespace octet

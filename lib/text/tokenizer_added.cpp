#include "lib/text/tokenizer_added.h"

#include <algorithm>

namespace octet {

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.text < b.text; });
  for (const AddedToken& token : tokens_) first_bytes_[static_cast<uint8_t>(token.text[0])] = true;
}

bool AddedTokenMatcher::find(std::string_view text, size_t from, Match& match) const {
  if (tokens_.empty()) return false;
  for (size_t at = from; at < text.size(); ++at) {
    if (first_bytes_[static_cast<uint8_t>(text[at])] && match_at(text, at, match)) return true;
  }
  return false;
}

/// Narrows the range of tokens that share the text's next bytes, byte by byte; the last token that
/// ended on the way is the longest.
bool AddedTokenMatcher::match_at(std::string_view text, size_t at, Match& match) const {
  auto low = tokens_.begin(), high = tokens_.end();
  bool found = false;
  for (size_t depth = 0; at + depth < text.size(); ++depth) {
    const auto byte = static_cast<uint8_t>(text[at + depth]);
    auto byte_of = [depth](const AddedToken& token) {
      return depth < token.text.size() ? static_cast<uint8_t>(token.text[depth]) : -1;
    };
    low = std::partition_point(low, high, [&](const AddedToken& t) { return byte_of(t) < byte; });
    high = std::partition_point(low, high, [&](const AddedToken& t) { return byte_of(t) == byte; });
    if (low == high) break;
    if (low->text.size() == depth + 1) {
      match = {at, at + depth + 1, low->id};
      found = true;
    }
  }
  return found;
}

int32_t AddedTokenMatcher::find_exact(std::string_view text) const {
  auto at = std::lower_bound(
      tokens_.begin(), tokens_.end(), text,
      [](const AddedToken& token, std::string_view key) { return token.text < key; });
  return at != tokens_.end() && at->text == text ? at->id : -1;
}

}  // namespace octet

#include "lib/text/token_trie.h"

#include <algorithm>

#include "lib/core/error.h"
#include "lib/text/tokenizer_impl.h"

namespace octet {

TokenTrie::TokenTrie(const Tokenizer& tokenizer, const std::vector<int32_t>& excluded)
    : vocabulary_(tokenizer.size()) {
  const TokenizerImpl& impl = *tokenizer.impl();
  std::vector<int32_t> ids;
  std::string bytes, first;
  for (int32_t id = 0; id < tokenizer.size(); ++id) {
    begin_.push_back(static_cast<uint32_t>(text_.size()));
    const bool left_out = std::find(excluded.begin(), excluded.end(), id) != excluded.end();
    if (left_out || !impl.has_text(id) || impl.is_special(id)) continue;
    bytes.clear();
    first.clear();
    impl.append_bytes(id, false, bytes);
    impl.append_bytes(id, true, first);
    require(bytes == first, ErrorCode::Unsupported,
            "constraints: this tokenizer drops the space before a text's first word");
    text_.insert(text_.end(), bytes.begin(), bytes.end());
    if (!bytes.empty()) ids.push_back(id);
  }
  begin_.push_back(static_cast<uint32_t>(text_.size()));
  build(ids);
  for (char byte = ' '; byte < 0x7f; ++byte) tokenize({&byte, 1});
}

std::string_view TokenTrie::bytes(int32_t id) const {
  if (id < 0 || id >= vocabulary_) return {};
  const auto i = static_cast<size_t>(id);
  return {text_.data() + begin_[i], begin_[i + 1] - begin_[i]};
}

void TokenTrie::build(std::vector<int32_t>& ids) {
  std::sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
    const std::string_view left = bytes(a), right = bytes(b);
    return left != right ? left < right : a < b;
  });
  std::vector<int32_t> path;  // the nodes above
  std::string_view before;
  const auto close = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back())
      nodes_[static_cast<size_t>(path.back())].end = static_cast<int32_t>(nodes_.size());
  };
  for (int32_t id : ids) {
    const std::string_view text = bytes(id);
    require(text.size() < UINT16_MAX, ErrorCode::Unsupported, "constraints: a token of ",
            text.size(), " bytes");
    const auto common = static_cast<size_t>(
        std::mismatch(text.begin(), text.end(), before.begin(), before.end()).first - text.begin());
    close(common);
    for (size_t i = common; i < text.size(); ++i) {
      path.push_back(static_cast<int32_t>(nodes_.size()));
      nodes_.push_back({static_cast<uint8_t>(text[i]), static_cast<uint16_t>(i + 1), 0,
                        static_cast<int32_t>(tokens_.size())});
    }
    tokens_.push_back(id);
    max_depth_ = std::max(max_depth_, static_cast<int>(text.size()));
    before = text;
  }
  close(0);
  nodes_.push_back({0, 0, 0, static_cast<int32_t>(tokens_.size())});
}

std::vector<int32_t> TokenTrie::tokenize(std::string_view text) const {
  std::vector<int32_t> ids;
  while (!text.empty()) {
    int32_t best = -1;
    size_t length = 0, depth = 0;
    const size_t count = nodes_.size() - 1;
    for (size_t i = 0; i < count && depth < text.size();) {
      const Node& node = nodes_[i];
      if (node.depth != depth + 1) break;
      if (node.byte != static_cast<uint8_t>(text[depth])) {
        i = static_cast<size_t>(node.end);
        continue;
      }
      ++depth;
      if (nodes_[i + 1].first_token > node.first_token) {
        best = tokens_[static_cast<size_t>(node.first_token)];
        length = depth;
      }
      ++i;
    }
    require(best >= 0, ErrorCode::Unsupported, "constraints: no token of this vocabulary spells '",
            text.substr(0, 1), "'");
    ids.push_back(best);
    text.remove_prefix(length);
  }
  return ids;
}

}  // namespace octet

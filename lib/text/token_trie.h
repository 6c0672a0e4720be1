#pragma once
#include <octet/tokenizer.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace octet {

/// The bytes of a vocabulary's tokens as a tree, in preorder: whoever walks it can leave out a
/// subtree by one jump. Special tokens and those without text are not in it.
class TokenTrie {
 public:
  struct Node {
    uint8_t byte;
    uint16_t depth;       ///< bytes from the root, this one included
    int32_t end;          ///< the first node that is not below this one
    int32_t first_token;  ///< in tokens(); those up to the next node's are spelled up to here
  };

  /// excluded: further ids that are left out.
  /// Errors: Unsupported if not every byte of ASCII text is a token (such as a grammar might need),
  /// or the first token of a text has other bytes than later ones.
  TokenTrie(const Tokenizer& tokenizer, const std::vector<int32_t>& excluded);

  const std::vector<Node>& nodes() const { return nodes_; }  ///< and one more behind the last
  const std::vector<int32_t>& tokens() const { return tokens_; }
  int max_depth() const { return max_depth_; }
  int64_t vocabulary() const { return vocabulary_; }
  std::string_view bytes(int32_t id) const;  ///< empty: not in the tree

  /// The text in as few tokens as taking the longest each time makes. Errors: Unsupported.
  std::vector<int32_t> tokenize(std::string_view text) const;

 private:
  void build(std::vector<int32_t>& ids);

  int64_t vocabulary_;
  std::vector<char> text_;       // of all tokens
  std::vector<uint32_t> begin_;  // [vocabulary + 1]
  std::vector<Node> nodes_;
  std::vector<int32_t> tokens_;
  int max_depth_ = 0;
};

}  // namespace octet

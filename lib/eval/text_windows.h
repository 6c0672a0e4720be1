#pragma once
#include <octet/eval.h>

#include <string>
#include <vector>

namespace octet {

/// A text as windows of token ids, one after another, however long it is: it is read and tokenized
/// in pieces, which end where a line begins.
class TextWindows {
 public:
  /// piece_bytes: at least 16.
  TextWindows(TextReader read, Tokenizer tokenizer, size_t piece_bytes = size_t{4} << 20);

  /// The next `count` ids; fewer at the end of the text, none after it.
  /// Errors: InvalidArgument if the text is not UTF-8.
  std::vector<int32_t> next(size_t count);

  /// About how many bytes of the text became windows.
  int64_t bytes_done() const;

 private:
  /// Tokenizes one more piece. False at the end of the text.
  bool read_piece();

  TextReader read_;
  Tokenizer tokenizer_;
  size_t piece_bytes_;
  std::string text_;          // read, not yet tokenized
  std::vector<int32_t> ids_;  // of the current piece, from next_id_ on not yet given out
  size_t next_id_ = 0;
  size_t bytes_before_ = 0, bytes_of_piece_ = 0;
};

}  // namespace octet

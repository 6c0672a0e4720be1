#include "lib/eval/text_windows.h"

#include <algorithm>
#include <string_view>

namespace octet {
namespace {

/// Where a piece of `text` may end: behind a line's end that no white space follows, which
/// tokenizers do not join with what comes next; else before the last word; else before the last
/// character.
size_t cut(std::string_view text) {
  constexpr std::string_view white = " \t\r\n";
  for (size_t at = text.size() - 1; at-- > 0;)
    if (text[at] == '\n' && white.find(text[at + 1]) == std::string_view::npos) return at + 1;
  const size_t space = text.rfind(' ');
  if (space != std::string_view::npos && space > 0) return space;
  size_t end = text.size() - 1;
  while (end > 1 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return end;
}

}  // namespace

TextWindows::TextWindows(TextReader read, Tokenizer tokenizer, size_t piece_bytes)
    : read_(read), tokenizer_(std::move(tokenizer)), piece_bytes_(piece_bytes) {}

std::vector<int32_t> TextWindows::next(size_t count) {
  std::vector<int32_t> window;
  while (window.size() < count && (next_id_ < ids_.size() || read_piece())) {
    const size_t take = std::min(count - window.size(), ids_.size() - next_id_);
    const auto begin = ids_.begin() + static_cast<std::ptrdiff_t>(next_id_);
    window.insert(window.end(), begin, begin + static_cast<std::ptrdiff_t>(take));
    next_id_ += take;
  }
  return window;
}

int64_t TextWindows::bytes_done() const {
  const size_t of_piece = ids_.empty() ? 0 : bytes_of_piece_ * next_id_ / ids_.size();
  return static_cast<int64_t>(bytes_before_ + of_piece);
}

bool TextWindows::read_piece() {
  const size_t kept = text_.size();
  text_.resize(piece_bytes_);
  text_.resize(kept + read_(text_.data() + kept, piece_bytes_ - kept));
  if (text_.empty()) return false;
  const size_t end = text_.size() < piece_bytes_ ? text_.size() : cut(text_);
  ids_ = tokenizer_.encode(std::string_view(text_).substr(0, end));
  next_id_ = 0;
  text_.erase(0, end);
  bytes_before_ += bytes_of_piece_;
  bytes_of_piece_ = end;
  return true;
}

}  // namespace octet

#pragma once
#include <octet/eval.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace octet::testing {

/// A text that nothing is calibrated with.
inline std::string other_text() {
  std::string text;
  for (int i = 0; i < 60; ++i) text += "Row " + std::to_string(i * 37) + " of the other text.\n";
  return text;
}

/// Hands a text out piece by piece, as evaluate() asks for it.
class TextPieces {
 public:
  explicit TextPieces(std::string_view text) : text_(text) {}
  size_t operator()(char* to, size_t count) {
    const size_t n = std::min(count, text_.size());
    std::copy_n(text_.data(), n, to);
    text_.remove_prefix(n);
    return n;
  }

 private:
  std::string_view text_;
};

/// The mean KL divergence from the reference.
inline double kl(const Model& model, const Model& reference, std::string_view text) {
  TextPieces pieces(text);
  return evaluate(model, &reference, pieces, {.context = 256}).comparison.kl_mean;
}

}  // namespace octet::testing

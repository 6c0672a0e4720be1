#pragma once
#include <octet/error.h>
#include <octet/export.h>
#include <octet/handle.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace OCTET_EXPORT octet {

struct EncodeOptions {
  bool add_bos = false;       ///< put the beginning-of-text token first, where the model has one
  bool parse_special = true;  ///< text that spells an added token becomes that token
};

struct DecodeOptions {
  bool keep_special = true;  ///< write the special tokens' text too
};

struct TokenizerImpl;
void retain(TokenizerImpl*) noexcept;
void release(TokenizerImpl*) noexcept;

/// Text to token ids and back. Copies are cheap and share their tables; every function may be
/// called from any thread.
class Tokenizer {
 public:
  /// path: a tokenizer.json, a directory that holds one (or a tokenizer.model), a GGUF file, a
  /// sentencepiece .model, or a converted octet file.
  /// Errors: Io; InvalidFile; Unsupported for a pre-tokenizer, model or normalizer octet does not
  /// know, naming it.
  static Tokenizer open(const std::string& path);

  /// Errors: InvalidArgument if the text is not UTF-8.
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

  /// Bytes that are not UTF-8 become U+FFFD, one for each maximal invalid part. Ids without text
  /// give nothing. Errors: InvalidArgument for a negative id.
  std::string decode(std::span<const int32_t> ids, const DecodeOptions& options = {}) const;

  /// The number of ids that may have text: ids at or above it have none.
  int32_t size() const noexcept;
  /// False for ids that stand for no bytes at all (padding rows of the embedding).
  bool has_text(int32_t id) const noexcept;
  /// True for control tokens such as <|im_end|>.
  bool is_special(int32_t id) const noexcept;
  /// The id of a token's literal text (an added token's, or a vocabulary entry's); -1: none.
  int32_t find(std::string_view token) const;
  /// -1 where the model has none.
  int32_t bos_id() const noexcept;
  /// True if the model's own encoding starts with bos_id (add_bos_token).
  bool adds_bos() const noexcept;

  /// For the library's own use.
  explicit Tokenizer(Handle<TokenizerImpl> impl) : impl_(std::move(impl)) {}
  const Handle<TokenizerImpl>& impl() const { return impl_; }

 private:
  Handle<TokenizerImpl> impl_;
};

/// Turns a stream of ids into text without ever giving half a UTF-8 character: at most 3 bytes
/// are held back. The pieces joined equal Tokenizer::decode of all the ids.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, const DecodeOptions& options = {});
  /// The text that is complete with this id; may be empty. Errors: InvalidArgument.
  std::string push(int32_t id);
  /// What is left: a broken rest comes out as U+FFFD.
  std::string finish();

 private:
  Tokenizer tokenizer_;
  DecodeOptions options_;
  bool first_ = true;  // sentencepiece drops the space before the first word
  std::string held_;
};

}  // namespace octet

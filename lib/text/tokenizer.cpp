#include <octet/tokenizer.h>

#include "lib/core/error.h"
#include "lib/text/bpe_tokenizer.h"
#include "lib/text/tokenizer_flat.h"
#include "lib/text/tokenizer_impl.h"
#include "lib/text/unicode.h"

namespace octet {

void retain(TokenizerImpl* impl) noexcept {
  retain_counted(impl);
}
void release(TokenizerImpl* impl) noexcept {
  release_counted(impl);
}

namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 31;

Handle<TokenizerImpl> make_flat(const TokenizerSource& source) {
  FlatReader in(source.bytes, source.where);
  switch (in.kind()) {
    case FlatKind::bpe: {
      BpeModel model = read_bpe_model(in);
      in.finish();
      return make_bpe_tokenizer(std::move(model), source.where);
    }
    case FlatKind::sentencepiece:
      break;
  }
  fail(ErrorCode::InvalidFile, source.where, ": flat tokenizer of unknown kind ",
       static_cast<uint32_t>(in.kind()));
}

Handle<TokenizerImpl> make_impl(const TokenizerSource& source) {
  auto bpe = [&](const BpeDefinition& definition) {
    return make_bpe_tokenizer(build_bpe_model(definition, source.where), source.where);
  };
  switch (source.kind) {
    case TokenizerSource::Kind::json:
      return bpe(read_bpe_json(source));
    case TokenizerSource::Kind::gguf:
      require(source.gguf.model == "gpt2", ErrorCode::Unsupported, source.where,
              ": tokenizer.ggml.model \"", source.gguf.model, "\"; octet knows gpt2 and llama");
      return bpe(read_bpe_gguf(source.gguf, source.where));
    case TokenizerSource::Kind::flat:
      return make_flat(source);
    case TokenizerSource::Kind::sentencepiece:
      fail(ErrorCode::Unsupported, "not yet");
  }
  fail(ErrorCode::Internal, source.where, ": tokenizer source of an unknown kind");
}

/// Appends what the id stands for; true if that was anything.
bool append_token(const TokenizerImpl& impl, int32_t id, bool first, const DecodeOptions& options,
                  std::string& bytes) {
  require(id >= 0, ErrorCode::InvalidArgument, "decode: id ", id, " is negative");
  if (!impl.has_text(id) || (!options.keep_special && impl.is_special(id))) return false;
  impl.append_bytes(id, first, bytes);
  return true;
}

}  // namespace

Tokenizer make_tokenizer(const TokenizerSource& source) {
  return Tokenizer(make_impl(source));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  require(text.size() < kMaxTextBytes, ErrorCode::InvalidArgument, "encode: a text of ",
          text.size(), " bytes, at most ", kMaxTextBytes - 1, " are allowed");
  const size_t invalid = find_invalid_utf8(text);
  require(invalid == text.npos, ErrorCode::InvalidArgument,
          "encode: the text is not UTF-8 at byte ", invalid, " of ", text.size());
  std::vector<int32_t> ids;
  if (options.add_bos && impl_->bos_id >= 0) ids.push_back(impl_->bos_id);
  if (!text.empty()) impl_->encode(text, options.parse_special, ids);
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, const DecodeOptions& options) const {
  StreamDecoder decoder(*this, options);
  std::string text;
  for (int32_t id : ids) text += decoder.push(id);
  return text + decoder.finish();
}

int32_t Tokenizer::size() const noexcept {
  return impl_->size();
}
bool Tokenizer::has_text(int32_t id) const noexcept {
  return impl_->has_text(id);
}
bool Tokenizer::is_special(int32_t id) const noexcept {
  return impl_->is_special(id);
}
int32_t Tokenizer::find(std::string_view token) const {
  return impl_->find(token);
}
int32_t Tokenizer::bos_id() const noexcept {
  return impl_->bos_id;
}
bool Tokenizer::adds_bos() const noexcept {
  return impl_->add_bos;
}

StreamDecoder::StreamDecoder(Tokenizer tokenizer, const DecodeOptions& options)
    : tokenizer_(std::move(tokenizer)), options_(options) {}

std::string StreamDecoder::push(int32_t id) {
  if (append_token(*tokenizer_.impl(), id, first_, options_, held_)) first_ = false;
  std::string text;
  held_.erase(0, append_complete_utf8(held_, text));
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  if (!held_.empty()) text = kReplacementCharacter;
  held_.clear();
  first_ = true;
  return text;
}

}  // namespace octet

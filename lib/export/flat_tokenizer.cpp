#include "lib/export/flat_tokenizer.h"

#include "lib/text/tokenizer_flat.h"
#include "lib/text/tokenizer_impl.h"

namespace octet {

FlatTokenizer flat_tokenizer(const TokenizerSource& source) {
  const std::vector<std::byte> bytes = make_tokenizer(source).impl()->serialize();
  FlatReader in(bytes, source.where);
  FlatTokenizer tokenizer;
  if (in.kind() == FlatKind::bpe) {
    tokenizer.bpe = read_bpe_model(in);
    return tokenizer;
  }
  FlatSentencepiece& parts = tokenizer.sentencepiece.emplace();
  parts.proto = in.text();
  parts.added = in.added_tokens(static_cast<int32_t>(kMaxTokens));
  parts.bos_id = in.value<int32_t>();
  parts.add_bos = in.flag();
  in.finish();
  return tokenizer;
}

}  // namespace octet

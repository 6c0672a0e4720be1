#pragma once
// A tokenizer of any source taken apart again, to be written in another program's format.
#include <optional>
#include <string>
#include <vector>

#include "lib/io/tokenizer_source.h"
#include "lib/text/bpe_model.h"

namespace octet {

struct FlatSentencepiece {
  std::string proto;  ///< the .model file
  std::vector<AddedToken> added;
  int32_t bos_id = -1;
  bool add_bos = false;
};

/// One of the two.
struct FlatTokenizer {
  std::optional<BpeModel> bpe;
  std::optional<FlatSentencepiece> sentencepiece;

  bool adds_bos() const { return bpe ? bpe->add_bos : sentencepiece->add_bos; }
};

/// Errors: InvalidFile; Unsupported.
FlatTokenizer flat_tokenizer(const TokenizerSource& source);

}  // namespace octet

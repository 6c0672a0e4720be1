#pragma once
// A sentencepiece model: what octet uses of one, read from hostile bytes and written anew, so that
// the sentencepiece library only ever sees a model that was checked.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lib/io/tokenizer_source.h"

namespace octet {

struct SentencepieceModel {
  /// Values as in sentencepiece_model.proto, and in tokenizer.ggml.token_type.
  enum class PieceType : int32_t {
    normal = 1,
    unknown = 2,
    control = 3,
    user_defined = 4,
    unused = 5,
    byte = 6
  };
  struct Piece {
    std::string text;  ///< U+2581 stands for a space
    float score = 0;
    PieceType type = PieceType::normal;
  };
  enum class Algorithm : int32_t { unigram = 1, bpe = 2 };

  std::vector<Piece> pieces;  ///< by id
  Algorithm algorithm = Algorithm::unigram;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  std::string unknown_surface = " \xE2\x81\x87 ";  ///< what the unknown piece decodes to
  int32_t bos_id = -1;
};

/// Parses and checks a ModelProto. Errors: InvalidFile; Unsupported for normalization tables,
/// white space as suffix, and algorithms other than unigram and BPE.
SentencepieceModel parse_sentencepiece_model(std::span<const std::byte> proto,
                                             const std::string& where);

/// The model that a GGUF vocabulary "llama" stands for. Errors: InvalidFile.
SentencepieceModel sentencepiece_from_gguf(const GgufVocabulary& vocabulary,
                                           const std::string& where);

/// A ModelProto that parse_sentencepiece_model() reads back.
std::string write_sentencepiece_model(const SentencepieceModel& model);

}  // namespace octet

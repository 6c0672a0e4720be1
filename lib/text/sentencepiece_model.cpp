#include "lib/text/sentencepiece_model.h"

#include <bit>
#include <cmath>
#include <string_view>
#include <unordered_map>

#include "lib/core/error.h"
#include "lib/text/sentencepiece_protobuf.h"
#include "lib/text/tokenizer_added.h"
#include "lib/text/unicode.h"

namespace octet {
namespace {

using Model = SentencepieceModel;
using PieceType = Model::PieceType;

// Field numbers of sentencepiece_model.proto.
namespace field {
constexpr uint32_t kPieces = 1, kTrainer = 2, kNormalizer = 3, kDenormalizer = 5;
constexpr uint32_t kText = 1, kScore = 2, kType = 3;
constexpr uint32_t kAlgorithm = 3, kWhitespaceAsSuffix = 24, kByteFallback = 35, kBosId = 41,
                   kUnknownSurface = 44;
constexpr uint32_t kCharsmap = 2, kDummyPrefix = 3, kRemoveExtra = 4, kEscape = 5;
}  // namespace field

class Parser {
 public:
  explicit Parser(const std::string& where) : where_(where) { model_.bos_id = 1; }

  Model parse(std::string_view proto) {
    for (ProtobufReader in(proto, where_); in.next();) {
      if (in.field() == field::kPieces) piece(in.bytes());
      if (in.field() == field::kTrainer) trainer(in.bytes());
      if (in.field() == field::kNormalizer) normalizer(in.bytes(), true);
      if (in.field() == field::kDenormalizer) normalizer(in.bytes(), false);
    }
    // The proto's default names id 1 whether or not the model has such a piece.
    const auto bos = static_cast<size_t>(model_.bos_id);
    if (bos >= model_.pieces.size() || model_.pieces[bos].type != PieceType::control) {
      model_.bos_id = -1;
    }
    return std::move(model_);
  }

 private:
  void piece(std::string_view message) {
    Model::Piece piece;
    for (ProtobufReader in(message, where_); in.next();) {
      if (in.field() == field::kText) piece.text = in.bytes();
      if (in.field() == field::kScore) piece.score = std::bit_cast<float>(in.fixed32());
      if (in.field() == field::kType) piece.type = static_cast<PieceType>(in.int32());
    }
    model_.pieces.push_back(std::move(piece));
  }

  void trainer(std::string_view message) {
    for (ProtobufReader in(message, where_); in.next();) {
      if (in.field() == field::kAlgorithm) {
        const int32_t algorithm = in.int32();
        require(algorithm == 1 || algorithm == 2, ErrorCode::Unsupported, where_,
                ": sentencepiece model_type ", algorithm, "; octet knows unigram (1) and BPE (2)");
        model_.algorithm = static_cast<Model::Algorithm>(algorithm);
      }
      if (in.field() == field::kWhitespaceAsSuffix) {
        require(in.varint() == 0, ErrorCode::Unsupported, where_,
                ": sentencepiece with treat_whitespace_as_suffix");
      }
      if (in.field() == field::kBosId) model_.bos_id = in.int32();
      if (in.field() == field::kUnknownSurface) model_.unknown_surface = in.bytes();
    }
  }

  void normalizer(std::string_view message, bool forward) {
    for (ProtobufReader in(message, where_); in.next();) {
      if (in.field() == field::kCharsmap) {
        // The library walks this table without looking at its bounds.
        require(in.bytes().empty(), ErrorCode::Unsupported, where_,
                ": sentencepiece with a normalization table; octet knows the identity");
      }
      if (!forward) continue;
      if (in.field() == field::kDummyPrefix) model_.add_dummy_prefix = in.varint() != 0;
      if (in.field() == field::kRemoveExtra) model_.remove_extra_whitespaces = in.varint() != 0;
      if (in.field() == field::kEscape) model_.escape_whitespaces = in.varint() != 0;
    }
  }

  const std::string& where_;
  Model model_;
};

/// The byte of a piece "<0x41>"; -1: it is written in another way.
int byte_of(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return -1;
  const size_t high = kDigits.find(text[3]), low = kDigits.find(text[4]);
  if (high == kDigits.npos || low == kDigits.npos) return -1;
  return static_cast<int>(high * 16 + low);
}

/// All that the library takes for granted or answers by ending the program.
void check_model(const Model& model, const std::string& where) {
  auto check = [&](bool ok, const auto&... parts) {
    require(ok, ErrorCode::InvalidFile, where, ": sentencepiece: ", parts...);
  };
  check(!model.pieces.empty() && model.pieces.size() <= kMaxTokens, model.pieces.size(),
        " pieces, 1 to ", kMaxTokens, " are allowed");
  std::unordered_map<std::string_view, size_t> seen;
  size_t unknown = 0, normal = 0, bytes = 0;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const auto& [text, score, type] = model.pieces[id];
    check(!text.empty() && text.size() <= kMaxAddedTokenBytes, "piece ", id, " has ", text.size(),
          " bytes, 1 to ", kMaxAddedTokenBytes, " are allowed");
    check(text.find('\0') == text.npos && find_invalid_utf8(text) == text.npos, "piece ", id,
          " is not UTF-8, or has a zero byte");
    check(std::isfinite(score), "piece ", id, " has the score ", score);
    check(type >= PieceType::normal && type <= PieceType::byte, "piece ", id, " has the type ",
          static_cast<int32_t>(type));
    check(type != PieceType::byte || byte_of(text) >= 0, "byte piece ", id, " is \"", text, "\"");
    const auto [first, added] = seen.emplace(text, id);
    check(added, "the pieces ", first->second, " and ", id, " are both \"", text, "\"");
    unknown += type == PieceType::unknown;
    normal += type == PieceType::normal || type == PieceType::user_defined;
    bytes += type == PieceType::byte;
  }
  check(unknown == 1, unknown, " pieces of type unknown, expected 1");
  check(normal > 0, "no piece of type normal");
  check(bytes == 0 || bytes == 256, bytes, " byte pieces, expected none or 256");
  check(find_invalid_utf8(model.unknown_surface) == std::string::npos, "unk_surface is not UTF-8");
}

}  // namespace

SentencepieceModel parse_sentencepiece_model(std::span<const std::byte> proto,
                                             const std::string& where) {
  Model model = Parser(where).parse({reinterpret_cast<const char*>(proto.data()), proto.size()});
  check_model(model, where);
  return model;
}

SentencepieceModel sentencepiece_from_gguf(const GgufVocabulary& vocabulary,
                                           const std::string& where) {
  const size_t count = vocabulary.tokens.size();
  require(vocabulary.scores.size() == count && vocabulary.types.size() == count,
          ErrorCode::InvalidFile, where, ": tokenizer.ggml has ", count, " tokens, ",
          vocabulary.scores.size(), " scores and ", vocabulary.types.size(), " token_types");
  Model model;
  model.algorithm = Model::Algorithm::bpe;
  model.add_dummy_prefix = vocabulary.add_space_prefix;
  model.remove_extra_whitespaces = false;
  model.bos_id = vocabulary.bos_id;
  for (size_t id = 0; id < count; ++id) {
    model.pieces.push_back({vocabulary.tokens[id], vocabulary.scores[id],
                            static_cast<PieceType>(vocabulary.types[id])});
  }
  check_model(model, where);
  return model;
}

std::string write_sentencepiece_model(const SentencepieceModel& model) {
  ProtobufWriter out;
  bool byte_fallback = false;
  for (const Model::Piece& piece : model.pieces) {
    ProtobufWriter message;
    message.bytes(field::kText, piece.text);
    message.fixed32(field::kScore, std::bit_cast<uint32_t>(piece.score));
    message.varint(field::kType, static_cast<uint64_t>(piece.type));
    out.bytes(field::kPieces, message.data());
    byte_fallback = byte_fallback || piece.type == PieceType::byte;
  }
  ProtobufWriter trainer;
  trainer.varint(field::kAlgorithm, static_cast<uint64_t>(model.algorithm));
  trainer.varint(field::kByteFallback, byte_fallback);
  // A negative int32 is ten bytes long.
  trainer.varint(field::kBosId, static_cast<uint64_t>(int64_t{model.bos_id}));
  trainer.bytes(field::kUnknownSurface, model.unknown_surface);
  out.bytes(field::kTrainer, trainer.data());
  ProtobufWriter normalizer;
  normalizer.varint(field::kDummyPrefix, model.add_dummy_prefix);
  normalizer.varint(field::kRemoveExtra, model.remove_extra_whitespaces);
  normalizer.varint(field::kEscape, model.escape_whitespaces);
  out.bytes(field::kNormalizer, normalizer.data());
  return std::move(out).data();
}

}  // namespace octet

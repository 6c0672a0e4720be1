#include "lib/text/sentencepiece_tokenizer.h"

#include "lib/core/error.h"

#if OCTET_SENTENCEPIECE
#include <sentencepiece_processor.h>

#include <algorithm>
#include <unordered_map>

#include "lib/text/sentencepiece_model.h"
#include "lib/text/tokenizer_added.h"
#include "lib/text/tokenizer_json.h"

namespace octet {
namespace {

using Model = SentencepieceModel;
using PieceType = Model::PieceType;

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581

/// A model, the tokens that text may spell besides, and how text begins.
struct Definition {
  Model model;
  std::vector<AddedToken> added;
  int32_t bos_id = -1;
  bool add_bos = false;
};

void load(sentencepiece::SentencePieceProcessor& processor, const std::string& proto,
          const std::string& where) {
  try {
    const auto status = processor.LoadFromSerializedProto(proto);
    require(status.ok(), ErrorCode::InvalidFile, where, ": sentencepiece: ", status.message());
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {  // of the library's double array
    fail(ErrorCode::InvalidFile, where, ": sentencepiece: ", error.what());
  }
}

class SentencepieceTokenizer final : public TokenizerImpl {
 public:
  SentencepieceTokenizer(Definition definition, const std::string& where)
      : model_(std::move(definition.model)),
        added_(std::move(definition.added)),
        matcher_(added_),
        proto_(write_sentencepiece_model(model_)) {
    load(processor_, proto_, where);
    size_ = static_cast<int32_t>(model_.pieces.size());
    for (size_t at = 0; at < model_.pieces.size(); ++at) {
      ids_.emplace(model_.pieces[at].text, static_cast<int32_t>(at));
    }
    for (const AddedToken& token : added_) {
      size_ = std::max(size_, token.id + 1);
      added_by_id_.emplace(token.id, &token);
    }
    bos_id = definition.bos_id;
    add_bos = definition.add_bos;
  }

  void encode(std::string_view text, bool parse_special, std::vector<int32_t>& ids) const override {
    auto on_text = [&](std::string_view part) {
      std::vector<int> part_ids;
      const auto status = processor_.Encode(part, &part_ids);
      require(status.ok(), ErrorCode::Internal, "sentencepiece: ", status.message());
      ids.insert(ids.end(), part_ids.begin(), part_ids.end());
    };
    if (!parse_special) return on_text(text);
    split_at_added_tokens(matcher_, text, on_text, [&](int32_t id) { ids.push_back(id); });
  }

  void append_bytes(int32_t id, bool first, std::string& bytes) const override {
    if (const AddedToken* token = added(id)) {
      bytes += token->text;
    } else if (const Model::Piece* piece = find_piece(id)) {
      append_piece(*piece, first, bytes);
    }
  }

  int32_t size() const override { return size_; }
  bool has_text(int32_t id) const override { return added(id) || find_piece(id); }

  bool is_special(int32_t id) const override {
    if (const AddedToken* token = added(id)) return token->special;
    const Model::Piece* piece = find_piece(id);
    return piece && piece->type == PieceType::control;
  }

  int32_t find(std::string_view token) const override {
    const int32_t id = matcher_.find_exact(token);
    if (id != -1) return id;
    const auto at = ids_.find(token);
    return at == ids_.end() ? -1 : at->second;
  }

  int32_t find_added(std::string_view text, size_t from, size_t& begin,
                     size_t& end) const override {
    AddedTokenMatcher::Match match;
    if (!matcher_.find(text, from, match)) return -1;
    begin = match.begin;
    end = match.end;
    return match.id;
  }

  std::vector<std::byte> serialize() const override {
    FlatWriter out(FlatKind::sentencepiece);
    out.text(proto_);
    out.added_tokens(added_);
    out.value(bos_id);
    out.value<uint8_t>(add_bos);
    return out.take();
  }

 private:
  const AddedToken* added(int32_t id) const {
    const auto at = added_by_id_.find(id);
    return at == added_by_id_.end() ? nullptr : at->second;
  }

  const Model::Piece* find_piece(int32_t id) const {
    const auto at = static_cast<size_t>(id);
    return id >= 0 && at < model_.pieces.size() ? &model_.pieces[at] : nullptr;
  }

  void append_piece(const Model::Piece& piece, bool first, std::string& bytes) const {
    if (piece.type == PieceType::byte) {
      bytes += static_cast<char>(std::stoi(piece.text.substr(3, 2), nullptr, 16));
      return;
    }
    if (piece.type == PieceType::unknown) {
      bytes += model_.unknown_surface;
      return;
    }
    std::string_view text = piece.text;
    const bool drop_space = model_.add_dummy_prefix || model_.remove_extra_whitespaces;
    if (first && drop_space && text.substr(0, kSpace.size()) == kSpace) {
      text.remove_prefix(kSpace.size());
    }
    for (size_t space; (space = text.find(kSpace)) != text.npos;) {
      bytes.append(text.substr(0, space)).append(1, ' ');
      text.remove_prefix(space + kSpace.size());
    }
    bytes += text;
  }

  const Model model_;
  const std::vector<AddedToken> added_;
  const AddedTokenMatcher matcher_;
  const std::string proto_;
  sentencepiece::SentencePieceProcessor processor_;
  std::unordered_map<std::string_view, int32_t> ids_;
  std::unordered_map<int32_t, const AddedToken*> added_by_id_;
  int32_t size_ = 0;
};

/// A bare .model spells no control token out of text; tokenizer_config.json names those that the
/// model's own tokenizer does.
Definition read_model_file(const TokenizerSource& source) {
  Definition definition;
  definition.model = parse_sentencepiece_model(source.bytes, source.where);
  definition.bos_id = definition.model.bos_id;
  const TokenizerConfig config = TokenizerJson(source.where).read_config(source.config);
  definition.added = config.added;
  if (config.bos_token) {
    definition.bos_id = -1;
    for (const AddedToken& token : definition.added) {
      if (token.text == *config.bos_token) definition.bos_id = token.id;
    }
    for (size_t id = 0; id < definition.model.pieces.size() && definition.bos_id == -1; ++id) {
      if (definition.model.pieces[id].text == *config.bos_token) {
        definition.bos_id = static_cast<int32_t>(id);
      }
    }
  }
  definition.add_bos = config.add_bos.value_or(false);
  require(definition.bos_id >= 0 || !definition.add_bos, ErrorCode::InvalidFile, source.where,
          ": add_bos_token is set, but the vocabulary has no beginning-of-text token");
  return definition;
}

Definition read_gguf(const TokenizerSource& source) {
  Definition definition;
  definition.model = sentencepiece_from_gguf(source.gguf, source.where);
  for (size_t id = 0; id < definition.model.pieces.size(); ++id) {
    const Model::Piece& piece = definition.model.pieces[id];
    if (piece.type != PieceType::control) continue;
    definition.added.push_back({piece.text, static_cast<int32_t>(id), true, false});
  }
  definition.bos_id = definition.model.bos_id;
  definition.add_bos = source.gguf.add_bos && definition.bos_id >= 0;
  return definition;
}

void check_definition(const Definition& definition, const std::string& where) {
  const auto pieces = definition.model.pieces.size();
  int32_t size = static_cast<int32_t>(pieces);
  std::unordered_map<std::string_view, int32_t> by_text;
  std::unordered_map<int32_t, std::string_view> by_id;
  for (const AddedToken& token : definition.added) {
    const auto id = static_cast<size_t>(token.id);
    require(!token.text.empty() && token.text.size() <= kMaxAddedTokenBytes &&
                by_text.emplace(token.text, token.id).second &&
                by_id.emplace(token.id, token.text).second &&
                (id >= pieces || definition.model.pieces[id].text == token.text),
            ErrorCode::InvalidFile, where, ": added token \"", token.text.substr(0, 100),
            "\" with the id ", token.id, " is empty, too long, twice there or another piece");
    size = std::max(size, token.id + 1);
  }
  require(definition.bos_id >= -1 && definition.bos_id < size, ErrorCode::InvalidFile, where,
          ": the beginning-of-text id is ", definition.bos_id, ", the vocabulary has ", size);
}

Handle<TokenizerImpl> make(Definition definition, const std::string& where) {
  check_definition(definition, where);
  return Handle<TokenizerImpl>(new SentencepieceTokenizer(std::move(definition), where));
}

}  // namespace

Handle<TokenizerImpl> make_sentencepiece_tokenizer(const TokenizerSource& source) {
  const bool gguf = source.kind == TokenizerSource::Kind::gguf;
  return make(gguf ? read_gguf(source) : read_model_file(source), source.where);
}

Handle<TokenizerImpl> read_sentencepiece_tokenizer(FlatReader& in) {
  Definition definition;
  const std::string proto = in.text();
  definition.model =
      parse_sentencepiece_model(std::as_bytes(std::span<const char>(proto)), in.where());
  definition.added = in.added_tokens(static_cast<int32_t>(kMaxTokens));
  definition.bos_id = in.value<int32_t>();
  definition.add_bos = in.flag();
  in.finish();
  return make(std::move(definition), in.where());
}

}  // namespace octet

#else

namespace octet {
namespace {

[[noreturn]] void refuse(const std::string& where) {
  fail(ErrorCode::Unsupported, where,
       ": a sentencepiece tokenizer, and this octet was built without it; configure with "
       "-DOCTET_SENTENCEPIECE=ON");
}

}  // namespace

Handle<TokenizerImpl> make_sentencepiece_tokenizer(const TokenizerSource& source) {
  refuse(source.where);
}
Handle<TokenizerImpl> read_sentencepiece_tokenizer(FlatReader& in) {
  refuse(in.where());
}

}  // namespace octet

#endif

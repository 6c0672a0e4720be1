#include "lib/text/bpe_model.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "lib/core/error.h"
#include "lib/text/bpe_export.h"
#include "lib/text/unicode.h"

namespace octet {
namespace {

using Ids = std::unordered_map<std::string_view, int32_t>;

/// GPT-2's byte alphabet: printable Latin-1 bytes stand for themselves, the others for U+0100 on,
/// in byte order.
std::array<char32_t, 256> make_byte_alphabet() {
  std::array<char32_t, 256> alphabet;
  char32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    alphabet[byte] = printable ? byte : next++;
  }
  return alphabet;
}

/// The byte that a character stands for; -1: none.
int byte_of(char32_t character) {
  static const std::array<int16_t, 0x144> kBytes = [] {
    std::array<int16_t, 0x144> bytes;
    bytes.fill(-1);
    const auto alphabet = make_byte_alphabet();
    for (size_t byte = 0; byte < 256; ++byte) bytes[alphabet[byte]] = static_cast<int16_t>(byte);
    return bytes;
  }();
  return character < kBytes.size() ? kBytes[character] : -1;
}

/// The bytes that a token's text stands for; empty if a character is not of the alphabet.
std::optional<std::string> from_byte_alphabet(std::string_view text) {
  std::string bytes;
  for (size_t at = 0; at < text.size();) {
    const Utf8Part part = utf8_part(text, at);
    const int byte = part.kind == Utf8Part::Kind::character ? byte_of(part.code_point) : -1;
    if (byte < 0) return std::nullopt;
    bytes += static_cast<char>(byte);
    at += part.length;
  }
  return bytes;
}

void check_added(const BpeDefinition& definition, const Ids& ids, const std::string& where) {
  std::unordered_map<int32_t, std::string_view> by_id;
  std::unordered_map<std::string_view, int32_t> by_text;
  for (const AddedToken& token : definition.added) {
    auto check = [&](bool ok, const auto&... parts) {
      require(ok, ErrorCode::InvalidFile, where, ": added token \"", token.text.substr(0, 100),
              "\" ", parts...);
    };
    check(token.id >= 0 && token.id < static_cast<int32_t>(kMaxTokens), "has the id ", token.id);
    check(!token.text.empty() && token.text.size() <= kMaxAddedTokenBytes, "has ",
          token.text.size(), " bytes, 1 to ", kMaxAddedTokenBytes, " are allowed");
    check(find_invalid_utf8(token.text) == std::string_view::npos, "is not UTF-8");
    check(by_id.emplace(token.id, token.text).second, "and another have the id ", token.id);
    check(by_text.emplace(token.text, token.id).second, "occurs twice");
    const auto id = static_cast<size_t>(token.id);
    if (id < definition.tokens.size() && !definition.tokens[id].empty()) {
      check(definition.tokens[id] == token.text, "has the id ", id, " of the token \"",
            definition.tokens[id], "\"");
    }
    const auto known = ids.find(token.text);
    check(known == ids.end() || known->second == token.id, "has the id ", token.id,
          ", but the vocabulary says ", known == ids.end() ? -1 : known->second);
  }
}

/// Fills token_begin and token_bytes; an id that only an added token has gets that one's text.
/// Returns which tokens are made of the byte alphabet. The others decode to their own text, as
/// Hugging Face's ByteLevel decoder does it.
std::vector<uint8_t> fill_bytes(const BpeDefinition& definition, BpeModel& model) {
  std::vector<std::string_view> texts(definition.tokens.begin(), definition.tokens.end());
  for (const AddedToken& token : definition.added) {
    const auto id = static_cast<size_t>(token.id);
    if (texts.size() <= id) texts.resize(id + 1);
    texts[id] = token.text;
  }
  while (!texts.empty() && texts.back().empty()) texts.pop_back();
  std::vector<uint8_t> mapped;
  for (std::string_view text : texts) {
    const auto bytes = from_byte_alphabet(text);
    model.token_bytes += bytes ? std::string_view(*bytes) : text;
    model.token_begin.push_back(static_cast<uint32_t>(model.token_bytes.size()));
    mapped.push_back(bytes.has_value());
  }
  return mapped;
}

void fill_byte_ids(const BpeDefinition& definition, const Ids& ids, const std::string& where,
                   BpeModel& model) {
  const auto unk = ids.find(definition.unk_token);
  require(unk != ids.end() || definition.unk_token.empty(), ErrorCode::InvalidFile, where,
          ": unk_token \"", definition.unk_token.substr(0, 100), "\" is not in the vocabulary");
  const auto alphabet = make_byte_alphabet();
  for (size_t byte = 0; byte < 256; ++byte) {
    std::string text;
    append_utf8(alphabet[byte], text);
    auto found = ids.find(text);
    require(found != ids.end() || definition.needs_every_byte.empty(), ErrorCode::Unsupported,
            where, ": ", definition.needs_every_byte, " with a vocabulary in which byte ", byte,
            " has no token");
    if (found == ids.end()) found = unk;
    model.byte_ids[byte] = found == ids.end() ? -1 : found->second;
  }
}

void fill_merges(const BpeDefinition& definition, const Ids& ids, const std::string& where,
                 BpeModel& model) {
  auto id_of = [&](const std::string& text, size_t rank) {
    const auto found = ids.find(text);
    require(found != ids.end(), ErrorCode::InvalidFile, where, ": merge ", rank,
            " needs the token \"", text.substr(0, 100), "\", which is not in the vocabulary");
    return found->second;
  };
  model.merges.reserve(definition.merges.size());
  for (size_t rank = 0; rank < definition.merges.size(); ++rank) {
    const auto& [left, right] = definition.merges[rank];
    model.merges.push_back({id_of(left, rank), id_of(right, rank), id_of(left + right, rank)});
  }
}

/// Most words of a text are one token each. For those whose merging ends in just that token the
/// merging can be left out.
void find_whole_words(const BpeDefinition& definition, const std::vector<uint8_t>& mapped,
                      BpeModel& model) {
  const MergeTable table(model.merges);
  BpeMerger merger(table);
  std::vector<int32_t> ids;
  model.whole.assign(mapped.size(), 0);
  for (int32_t id = 0; id < model.size(); ++id) {
    const auto i = static_cast<size_t>(id);
    const bool in_vocabulary = i < definition.tokens.size() && !definition.tokens[i].empty();
    if (!in_vocabulary || !mapped[i]) continue;
    ids.clear();
    for (char byte : model.bytes(id)) {
      const int32_t byte_id = model.byte_ids[static_cast<uint8_t>(byte)];
      if (byte_id >= 0) ids.push_back(byte_id);
    }
    merger.merge(ids);
    model.whole[i] = definition.ignore_merges || (ids.size() == 1 && ids[0] == id);
  }
}

}  // namespace

std::string to_byte_alphabet(std::string_view bytes) {
  static const auto alphabet = make_byte_alphabet();
  std::string text;
  for (char byte : bytes) append_utf8(alphabet[static_cast<uint8_t>(byte)], text);
  return text;
}

std::pair<std::string, std::string> split_merge(std::string_view merge, size_t rank,
                                                const std::string& where) {
  const size_t space = merge.find(' ');
  require(space != merge.npos && merge.find(' ', space + 1) == merge.npos, ErrorCode::InvalidFile,
          where, ": merge ", rank, " \"", merge.substr(0, 100), "\" is not two tokens");
  return {std::string(merge.substr(0, space)), std::string(merge.substr(space + 1))};
}

BpeModel build_bpe_model(const BpeDefinition& definition, const std::string& where) {
  require(!definition.tokens.empty() && definition.tokens.size() <= kMaxTokens,
          ErrorCode::InvalidFile, where, ": ", definition.tokens.size(), " tokens, 1 to ",
          kMaxTokens, " are allowed");
  Ids ids;
  uint64_t bytes = 0;
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    const std::string& text = definition.tokens[id];
    if (!text.empty()) ids[text] = static_cast<int32_t>(id);
    require(find_invalid_utf8(text) == text.npos, ErrorCode::InvalidFile, where, ": token ", id,
            " is not UTF-8");
    bytes += text.size();
  }
  require(bytes < UINT32_MAX, ErrorCode::InvalidFile, where, ": a vocabulary of ", bytes, " bytes");
  check_added(definition, ids, where);

  BpeModel model;
  const std::vector<uint8_t> mapped = fill_bytes(definition, model);
  fill_byte_ids(definition, ids, where, model);
  fill_merges(definition, ids, where, model);
  find_whole_words(definition, mapped, model);
  model.added = definition.added;
  model.steps = definition.steps;
  model.nfc = definition.nfc;
  model.bos_id = definition.bos_id;
  model.add_bos = definition.add_bos;
  require(model.bos_id < model.size(), ErrorCode::InvalidFile, where,
          ": the beginning-of-text id is ", model.bos_id, ", the vocabulary has ", model.size());
  return model;
}

}  // namespace octet

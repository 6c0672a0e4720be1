#pragma once
// A byte-level BPE vocabulary: as files define it, and as the tokenizer uses it.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/io/tokenizer_source.h"
#include "lib/text/bpe_merge.h"
#include "lib/text/bpe_split.h"
#include "lib/text/tokenizer_added.h"

namespace octet {

/// Ids at or above this are refused: tables as long as the largest id stay small.
inline constexpr uint32_t kMaxTokens = 1 << 20;

/// GPT-2's own split pattern, which {"type": "ByteLevel", "use_regex": true} stands for.
/// Source: Radford et al. 2019, the GPT-2 release.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// What tokenizer.json and GGUF say, strings in GPT-2's byte alphabet.
struct BpeDefinition {
  std::vector<std::string> tokens;  ///< by id; empty: no such token
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<AddedToken> added;
  std::vector<SplitStep> steps;
  bool nfc = false;
  bool ignore_merges = false;    ///< a word that is a token becomes it whatever the merges say
  std::string needs_every_byte;  ///< an option that octet ignores where every byte has a token
  int32_t bos_id = -1;
  bool add_bos = false;
};

/// The same, checked, in flat arrays.
struct BpeModel {
  std::vector<uint32_t> token_begin{0};  ///< [size + 1] into token_bytes
  std::string token_bytes;               ///< what each id stands for when decoding
  std::vector<uint8_t> whole;  ///< [size] 1: a word of exactly these bytes becomes this id at once
  std::array<int32_t, 256> byte_ids;  ///< -1: the byte has no token and vanishes
  std::vector<BpeMerge> merges;       ///< by rank
  std::vector<AddedToken> added;
  std::vector<SplitStep> steps;
  bool nfc = false;
  int32_t bos_id = -1;
  bool add_bos = false;

  int32_t size() const { return static_cast<int32_t>(token_begin.size() - 1); }
  /// The bytes of an id in [0, size()).
  std::string_view bytes(int32_t id) const {
    const auto i = static_cast<size_t>(id);
    return {token_bytes.data() + token_begin[i], token_begin[i + 1] - token_begin[i]};
  }
};

/// "left right" as two tokens. Errors: InvalidFile.
std::pair<std::string, std::string> split_merge(std::string_view merge, size_t rank,
                                                const std::string& where);

/// Errors: InvalidFile; Unsupported naming what is unknown.
BpeDefinition read_bpe_json(const TokenizerSource& source);
BpeDefinition read_bpe_gguf(const GgufVocabulary& vocabulary, const std::string& where);

/// Errors: InvalidFile if the definition's parts disagree.
BpeModel build_bpe_model(const BpeDefinition& definition, const std::string& where);

/// The flat form's part after its header, and back. Errors: InvalidFile.
class FlatWriter;
class FlatReader;
void write_bpe_model(const BpeModel& model, FlatWriter& out);
BpeModel read_bpe_model(FlatReader& in);

}  // namespace octet

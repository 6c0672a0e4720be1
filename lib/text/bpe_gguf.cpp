// Reads a byte-level BPE tokenizer from the tokenizer.ggml.* keys of a GGUF file; the names that
// these have for pre-tokenizers.
#include <algorithm>
#include <span>

#include "lib/core/error.h"
#include "lib/text/bpe_export.h"
#include "lib/text/bpe_model.h"

namespace octet {
namespace {

/// A GGUF file names its pre-tokenizer; the patterns are those of the models' tokenizer.json.
struct PreTokenizer {
  std::string_view name;
  std::span<const std::string_view> patterns;
  bool nfc;
  bool ignore_merges;
};

constexpr std::string_view kQwen2[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::string_view kLlama3[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::string_view kGpt2[] = {kGpt2Pattern};
constexpr std::string_view kSmollm[] = {R"(\p{N})", kGpt2Pattern};

constexpr PreTokenizer kPreTokenizers[] = {
    {"qwen2", kQwen2, true, false},      {"deepseek-r1-qwen", kQwen2, true, false},
    {"smollm", kSmollm, false, false},   {"gpt-2", kGpt2, false, false},
    {"llama-bpe", kLlama3, false, true},
};

const PreTokenizer& find_pre_tokenizer(const std::string& name, const std::string& where) {
  std::string known;
  for (const PreTokenizer& pre : kPreTokenizers) {
    if (pre.name == name) return pre;
    known.append(known.empty() ? "" : ", ").append(pre.name);
  }
  require(
      !name.empty(), ErrorCode::Unsupported, where,
      ": tokenizer.ggml.pre is missing, so how to split text into words is unknown; octet knows ",
      known);
  fail(ErrorCode::Unsupported, where, ": tokenizer.ggml.pre \"", name, "\"; octet knows ", known);
}

enum TokenType : int32_t { kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

void read_tokens(const GgufVocabulary& vocabulary, const std::string& where,
                 BpeDefinition& definition) {
  const auto& types = vocabulary.types;
  require(types.empty() || types.size() == vocabulary.tokens.size(), ErrorCode::InvalidFile, where,
          ": tokenizer.ggml.token_type has ", types.size(), " entries, tokenizer.ggml.tokens has ",
          vocabulary.tokens.size());
  definition.tokens = vocabulary.tokens;
  for (size_t id = 0; id < types.size(); ++id) {
    require(types[id] >= kNormal && types[id] <= kByte, ErrorCode::InvalidFile, where, ": token ",
            id, " has the type ", types[id]);
    // Padding rows of the embedding are named [PAD151665] and the like.
    if (types[id] == kUnused) definition.tokens[id].clear();
    if (types[id] != kControl && types[id] != kUserDefined) continue;
    definition.added.push_back({vocabulary.tokens[id], static_cast<int32_t>(id),
                                /*special=*/types[id] == kControl, /*normalized=*/false});
  }
}

}  // namespace

std::string_view gguf_pre_tokenizer(const BpeModel& model, bool ignore_merges) {
  const auto splits_alike = [](std::string_view pattern, const SplitStep& step) {
    return !step.prefix_space && step.pattern == pattern;
  };
  for (const PreTokenizer& pre : kPreTokenizers)
    if (pre.nfc == model.nfc && pre.ignore_merges == ignore_merges &&
        std::equal(pre.patterns.begin(), pre.patterns.end(), model.steps.begin(), model.steps.end(),
                   splits_alike))
      return pre.name;
  return {};
}

BpeDefinition read_bpe_gguf(const GgufVocabulary& vocabulary, const std::string& where) {
  const PreTokenizer& pre = find_pre_tokenizer(vocabulary.pre, where);
  BpeDefinition definition;
  read_tokens(vocabulary, where, definition);
  for (const std::string& merge : vocabulary.merges) {
    definition.merges.push_back(split_merge(merge, definition.merges.size(), where));
  }
  for (std::string_view pattern : pre.patterns) {
    definition.steps.push_back({std::string(pattern)});
  }
  definition.nfc = pre.nfc;
  definition.ignore_merges = pre.ignore_merges;
  definition.bos_id = vocabulary.bos_id;
  definition.add_bos = vocabulary.add_bos && vocabulary.bos_id >= 0;
  return definition;
}

}  // namespace octet

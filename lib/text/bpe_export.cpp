#include "lib/text/bpe_export.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lib/core/error.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;

/// The added token of each id; null: none.
std::vector<const AddedToken*> added_by_id(const BpeModel& model) {
  std::vector<const AddedToken*> added(static_cast<size_t>(model.size()));
  for (const AddedToken& token : model.added) added[static_cast<size_t>(token.id)] = &token;
  return added;
}

/// Each id's token as a vocabulary spells it; empty: there is none.
std::vector<std::string> spelled(const BpeModel& model) {
  const std::vector<const AddedToken*> added = added_by_id(model);
  std::vector<std::string> tokens;
  for (int32_t id = 0; id < model.size(); ++id) {
    const AddedToken* token = added[static_cast<size_t>(id)];
    tokens.push_back(token ? token->text : to_byte_alphabet(model.bytes(id)));
  }
  return tokens;
}

/// Whether a word that is a token becomes it even where the merges would not make it.
bool ignores_merges(const BpeModel& model) {
  const MergeTable table(model.merges);
  BpeMerger merger(table);
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < model.size(); ++id) {
    if (!model.whole[static_cast<size_t>(id)]) continue;
    ids.clear();
    for (char byte : model.bytes(id)) {
      const int32_t byte_id = model.byte_ids[static_cast<uint8_t>(byte)];
      if (byte_id >= 0) ids.push_back(byte_id);
    }
    merger.merge(ids);
    if (ids.size() != 1 || ids[0] != id) return true;
  }
  return false;
}

/// Hugging Face gives an added token that is not in the vocabulary the id after all that are. From
/// this id on the tokens get their ids so; those before have to be in the vocabulary.
int32_t first_outside(const BpeModel& model) {
  const std::vector<const AddedToken*> added = added_by_id(model);
  const std::vector<std::string> tokens = spelled(model);
  if (std::any_of(tokens.begin(), tokens.end(), [](const auto& text) { return text.empty(); }))
    return model.size();  // counting would come to other ids
  int32_t first = model.size();
  while (first > 0 && added[static_cast<size_t>(first - 1)]) --first;
  return first;
}

Json vocabulary(const BpeModel& model, const std::vector<std::string>& tokens) {
  Json vocab = Json::object();
  const int32_t end = first_outside(model);
  for (int32_t id = 0; id < end; ++id)
    if (const std::string& text = tokens[static_cast<size_t>(id)]; !text.empty()) vocab[text] = id;
  return vocab;
}

Json merges(const BpeModel& model, const std::vector<std::string>& tokens) {
  Json list = Json::array();
  for (const BpeMerge& merge : model.merges)
    list.push_back(tokens[static_cast<size_t>(merge.left)] + " " +
                   tokens[static_cast<size_t>(merge.right)]);
  return list;
}

Json added_tokens(const BpeModel& model) {
  Json list = Json::array();
  for (const AddedToken* token : added_by_id(model))
    if (token)
      list.push_back({{"id", token->id},
                      {"content", token->text},
                      {"single_word", false},
                      {"lstrip", false},
                      {"rstrip", false},
                      {"normalized", token->normalized},
                      {"special", token->special}});
  return list;
}

Json byte_level(bool prefix_space, bool regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", prefix_space},
          {"trim_offsets", false},
          {"use_regex", regex}};
}

Json pre_tokenizer(const BpeModel& model) {
  Json steps = Json::array();
  bool prefix_space = false, regex = false;
  for (const SplitStep& step : model.steps) {
    // Only ByteLevel puts a space before the text, and then cuts by GPT-2's pattern or not at all.
    prefix_space = step.prefix_space;
    regex = prefix_space && !step.pattern.empty();
    if (!prefix_space && !step.pattern.empty())
      steps.push_back({{"type", "Split"},
                       {"pattern", {{"Regex", step.pattern}}},
                       {"behavior", "Isolated"},
                       {"invert", false}});
  }
  steps.push_back(byte_level(prefix_space, regex));
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

Json post_processor(const BpeModel& model, const std::vector<std::string>& tokens) {
  if (!model.add_bos) return byte_level(false, false);
  const std::string& bos = tokens[static_cast<size_t>(model.bos_id)];
  const auto sequence = [](const char* id, int type) {
    return Json{{"Sequence", {{"id", id}, {"type_id", type}}}};
  };
  const auto special = [&](int type) {
    return Json{{"SpecialToken", {{"id", bos}, {"type_id", type}}}};
  };
  return {
      {"type", "TemplateProcessing"},
      {"single", Json::array({special(0), sequence("A", 0)})},
      {"pair", Json::array({special(0), sequence("A", 0), special(1), sequence("B", 1)})},
      {"special_tokens",
       {{bos,
         {{"id", bos}, {"ids", Json::array({model.bos_id})}, {"tokens", Json::array({bos})}}}}}};
}

/// What bytes without a token become; null: they vanish.
Json unknown_token(const BpeModel& model, const std::vector<std::string>& tokens) {
  for (size_t byte = 0; byte < model.byte_ids.size(); ++byte) {
    const int32_t id = model.byte_ids[byte];
    if (id >= 0 && model.bytes(id) != std::string(1, static_cast<char>(byte)))
      return tokens[static_cast<size_t>(id)];
  }
  return nullptr;
}

}  // namespace

std::string bpe_to_json(const BpeModel& model) {
  const std::vector<std::string> tokens = spelled(model);
  const Json json = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added_tokens(model)},
                     {"normalizer", model.nfc ? Json{{"type", "NFC"}} : Json()},
                     {"pre_tokenizer", pre_tokenizer(model)},
                     {"post_processor", post_processor(model, tokens)},
                     {"decoder", byte_level(false, false)},
                     {"model",
                      {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", unknown_token(model, tokens)},
                       {"continuing_subword_prefix", ""},
                       {"end_of_word_suffix", ""},
                       {"fuse_unk", false},
                       {"byte_fallback", false},
                       {"ignore_merges", ignores_merges(model)},
                       {"vocab", vocabulary(model, tokens)},
                       {"merges", merges(model, tokens)}}}};
  return json.dump();
}

GgufVocabulary bpe_to_gguf(const BpeModel& model, int64_t size, const std::string& where) {
  enum : int32_t { normal = 1, control = 3, user_defined = 4, unused = 5 };
  const std::string_view pre = gguf_pre_tokenizer(model, ignores_merges(model));
  require(!pre.empty(), ErrorCode::Unsupported, where,
          ": the tokenizer splits text by a pattern for which GGUF has no name that octet knows");
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = pre;
  vocabulary.tokens = spelled(model);
  const std::vector<const AddedToken*> added = added_by_id(model);
  for (const AddedToken* token : added)
    vocabulary.types.push_back(!token ? normal : token->special ? control : user_defined);
  vocabulary.tokens.resize(std::max(vocabulary.tokens.size(), static_cast<size_t>(size)));
  vocabulary.types.resize(vocabulary.tokens.size(), unused);
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (!vocabulary.tokens[id].empty()) continue;
    vocabulary.tokens[id] = str("[PAD", id, "]");
    vocabulary.types[id] = unused;
  }
  for (const BpeMerge& merge : model.merges)
    vocabulary.merges.push_back(vocabulary.tokens[static_cast<size_t>(merge.left)] + " " +
                                vocabulary.tokens[static_cast<size_t>(merge.right)]);
  vocabulary.bos_id = model.bos_id;
  vocabulary.add_bos = model.add_bos;
  return vocabulary;
}

}  // namespace octet

// Reads a byte-level BPE tokenizer from Hugging Face's tokenizer.json and tokenizer_config.json.
#include <nlohmann/json.hpp>

#include "lib/core/error.h"
#include "lib/text/bpe_model.h"

namespace octet {
namespace {

using nlohmann::json;

/// Typed access to the files' members; a wrong type is an InvalidFile that names the member.
class BpeJsonReader {
 public:
  explicit BpeJsonReader(const TokenizerSource& source) : where_(source.where) {}

  BpeDefinition read(const TokenizerSource& source) {
    const json root = parse(source.json);
    require(root.is_object(), ErrorCode::InvalidFile, where_, ": not an object");
    read_model(member(root, "model", json::value_t::object));
    read_added_tokens(root);
    if (const json* normalizer = find(root, "normalizer")) read_normalizer(*normalizer);
    read_pre_tokenizer(member(root, "pre_tokenizer", json::value_t::object), false);
    read_decoder(member(root, "decoder", json::value_t::object));
    if (const json* processor = find(root, "post_processor")) read_post_processor(*processor);
    if (!source.config.empty()) read_config(parse(source.config));
    return std::move(definition_);
  }

 private:
  json parse(const std::string& text) const {
    try {
      return json::parse(text, [&](int depth, json::parse_event_t, json&) {
        require(depth < 64, ErrorCode::InvalidFile, where_, ": JSON nested deeper than 64");
        return true;
      });
    } catch (const json::exception& error) {
      fail(ErrorCode::InvalidFile, where_, ": ", error.what());
    }
  }

  template <class... Parts>
  void check(bool ok, const Parts&... parts) const {
    require(ok, ErrorCode::InvalidFile, where_, ": ", parts...);
  }
  template <class... Parts>
  void know(bool ok, const Parts&... parts) const {
    require(ok, ErrorCode::Unsupported, where_, ": ", parts...);
  }

  /// Null if the member is absent or null.
  static const json* find(const json& object, const char* key) {
    const auto at = object.find(key);
    return at == object.end() || at->is_null() ? nullptr : &*at;
  }

  const json& member(const json& object, const char* key, json::value_t type) const {
    const json* value = find(object, key);
    check(value, "\"", key, "\" is missing");
    check(value->type() == type, "\"", key, "\" is ", value->type_name(), ", expected ",
          json(type).type_name());
    return *value;
  }

  bool flag(const json& object, const char* key, bool otherwise) const {
    return find(object, key) ? member(object, key, json::value_t::boolean).get<bool>() : otherwise;
  }

  std::string text(const json& object, const char* key) const {
    return find(object, key) ? member(object, key, json::value_t::string).get<std::string>() : "";
  }

  int32_t id(const json& value, std::string_view token) const {
    check(value.is_number_integer(), "the id of \"", token.substr(0, 100), "\" is ",
          value.is_number() ? "not an integer" : value.type_name());
    check(value.is_number_unsigned() && value.get<uint64_t>() < kMaxTokens, "the id of \"",
          token.substr(0, 100), "\" is ", value.dump(), ", ids lie in 0 to ", kMaxTokens - 1);
    return value.get<int32_t>();
  }

  void read_model(const json& model) {
    const std::string type = text(model, "type");
    know(type.empty() || type == "BPE", "model \"", type, "\"; octet reads BPE");
    const json* dropout = find(model, "dropout");
    know(!dropout || *dropout == 0, "model.dropout ", dropout ? dropout->dump() : "");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      know(text(model, key).empty(), "model.", key, " \"", text(model, key), "\"");
    }
    if (!text(model, "unk_token").empty()) definition_.needs_every_byte = "model.unk_token";
    if (flag(model, "byte_fallback", false)) definition_.needs_every_byte = "model.byte_fallback";
    definition_.ignore_merges = flag(model, "ignore_merges", false);
    read_vocabulary(member(model, "vocab", json::value_t::object));
    read_merges(member(model, "merges", json::value_t::array));
  }

  void read_vocabulary(const json& vocabulary) {
    auto& tokens = definition_.tokens;
    for (const auto& [token, value] : vocabulary.items()) {
      const auto at = static_cast<size_t>(id(value, token));
      if (tokens.size() <= at) tokens.resize(at + 1);
      check(tokens[at].empty(), "the tokens \"", tokens[at], "\" and \"", token,
            "\" have the same id ", at);
      tokens[at] = token;
    }
  }

  void read_merges(const json& merges) {
    for (const json& merge : merges) {
      const size_t rank = definition_.merges.size();
      if (merge.is_string()) {
        definition_.merges.push_back(
            split_merge(merge.get_ref<const std::string&>(), rank, where_));
      } else {
        check(merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string(),
              "merge ", rank, " is neither a string nor a pair of strings");
        definition_.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      }
    }
  }

  void read_added_tokens(const json& root) {
    if (!find(root, "added_tokens")) return;
    for (const json& entry : member(root, "added_tokens", json::value_t::array)) {
      check(entry.is_object(), "an added token is ", entry.type_name());
      AddedToken token;
      token.text = member(entry, "content", json::value_t::string).get<std::string>();
      check(find(entry, "id"), "added token \"", token.text.substr(0, 100), "\" has no id");
      token.id = id(entry["id"], token.text);
      token.special = flag(entry, "special", false);
      token.normalized = flag(entry, "normalized", !token.special);
      for (const char* option : {"lstrip", "rstrip", "single_word"}) {
        know(!flag(entry, option, false), "added token \"", token.text.substr(0, 100), "\" with ",
             option);
      }
      definition_.added.push_back(std::move(token));
    }
  }

  void read_normalizer(const json& normalizer) {
    check(normalizer.is_object(), "\"normalizer\" is ", normalizer.type_name());
    const std::string type = text(normalizer, "type");
    if (type == "Sequence") {
      for (const json& part : member(normalizer, "normalizers", json::value_t::array)) {
        read_normalizer(part);
      }
      return;
    }
    know(type == "NFC", "normalizer \"", type, "\"; octet knows NFC");
    definition_.nfc = true;
  }

  void read_pre_tokenizer(const json& step, bool in_sequence) {
    check(step.is_object(), "a pre-tokenizer is ", step.type_name());
    const std::string type = text(step, "type");
    know(!byte_level_, "pre-tokenizer \"", type, "\" after ByteLevel");
    if (type == "Sequence") {
      know(!in_sequence, "a pre-tokenizer Sequence inside a Sequence");
      for (const json& part : member(step, "pretokenizers", json::value_t::array)) {
        read_pre_tokenizer(part, true);
      }
    } else if (type == "Split") {
      read_split(step);
    } else if (type == "Digits") {
      const bool individual = flag(step, "individual_digits", false);
      definition_.steps.push_back({individual ? "\\p{N}" : "\\p{N}+"});
    } else {
      know(type == "ByteLevel", "pre-tokenizer \"", type,
           "\"; octet knows Sequence, Split, Digits and ByteLevel");
      const bool regex = flag(step, "use_regex", true),
                 space = flag(step, "add_prefix_space", true);
      if (regex || space) {
        definition_.steps.push_back({regex ? std::string(kGpt2Pattern) : "", space});
      }
      byte_level_ = true;
    }
    if (!in_sequence) know(byte_level_, "a pre-tokenizer without ByteLevel");
  }

  void read_split(const json& step) {
    const std::string behavior = text(step, "behavior");
    know(behavior == "Isolated", "Split with behavior \"", behavior, "\"; octet knows Isolated");
    know(!flag(step, "invert", false), "Split with invert");
    const json& pattern = member(step, "pattern", json::value_t::object);
    know(find(pattern, "Regex"), "Split with a pattern that is no Regex");
    definition_.steps.push_back({text(pattern, "Regex")});
  }

  void read_decoder(const json& decoder) const {
    const std::string type = text(decoder, "type");
    if (type == "Sequence") {
      for (const json& part : member(decoder, "decoders", json::value_t::array)) {
        check(part.is_object(), "a decoder is ", part.type_name());
        read_decoder(part);
      }
      return;
    }
    know(type == "ByteLevel", "decoder \"", type, "\"; octet knows ByteLevel");
  }

  /// A post-processor only matters where it puts one special token before the text.
  void read_post_processor(const json& processor) {
    check(processor.is_object(), "\"post_processor\" is ", processor.type_name());
    const std::string type = text(processor, "type");
    if (type == "Sequence") {
      for (const json& part : member(processor, "processors", json::value_t::array)) {
        read_post_processor(part);
      }
      return;
    }
    if (type == "ByteLevel") return;
    know(type == "TemplateProcessing", "post-processor \"", type,
         "\"; octet knows Sequence, ByteLevel and TemplateProcessing");
    const json& single = member(processor, "single", json::value_t::array);
    if (single.empty() || !single[0].is_object() || !find(single[0], "SpecialToken")) return;
    const json& first = member(single[0], "SpecialToken", json::value_t::object);
    set_bos(text(first, "id"), true);
  }

  void read_config(const json& config) {
    check(config.is_object(), "tokenizer_config.json is ", config.type_name());
    const json* bos = find(config, "bos_token");
    const bool add = flag(config, "add_bos_token", definition_.add_bos);
    if (bos && bos->is_object()) {
      set_bos(text(*bos, "content"), add);
    } else if (bos) {
      set_bos(text(config, "bos_token"), add);
    } else {
      definition_.add_bos = add && definition_.bos_id >= 0;
    }
  }

  /// A token that the model adds must exist; one that is only named need not.
  void set_bos(const std::string& token, bool add) {
    definition_.bos_id = -1;
    check(!token.empty(), "the beginning-of-text token is empty");
    for (const AddedToken& added : definition_.added) {
      if (added.text == token) definition_.bos_id = added.id;
    }
    for (size_t at = 0; definition_.bos_id == -1 && at < definition_.tokens.size(); ++at) {
      if (definition_.tokens[at] == token) definition_.bos_id = static_cast<int32_t>(at);
    }
    check(definition_.bos_id >= 0 || !add, "the beginning-of-text token \"", token.substr(0, 100),
          "\" is not in the vocabulary");
    definition_.add_bos = add;
  }

  const std::string& where_;
  BpeDefinition definition_;
  bool byte_level_ = false;
};

}  // namespace

BpeDefinition read_bpe_json(const TokenizerSource& source) {
  return BpeJsonReader(source).read(source);
}

}  // namespace octet

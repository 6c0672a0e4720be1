#include "lib/text/tokenizer_json.h"

#include "lib/io/json.h"

namespace octet {

using json = nlohmann::json;

const json* TokenizerJson::find(const json& object, const char* key) {
  const auto at = object.find(key);
  return at == object.end() || at->is_null() ? nullptr : &*at;
}

const json& TokenizerJson::member(const json& object, const char* key, json::value_t type) const {
  const json* value = find(object, key);
  check(value, "\"", key, "\" is missing");
  check(value->type() == type, "\"", key, "\" is ", value->type_name(), ", expected ",
        json(type).type_name());
  return *value;
}

bool TokenizerJson::flag(const json& object, const char* key, bool otherwise) const {
  return find(object, key) ? member(object, key, json::value_t::boolean).get<bool>() : otherwise;
}

std::string TokenizerJson::text(const json& object, const char* key) const {
  return find(object, key) ? member(object, key, json::value_t::string).get<std::string>() : "";
}

int32_t TokenizerJson::id(const json& value, std::string_view token) const {
  check(value.is_number_integer(), "the id of \"", token.substr(0, 100), "\" is ",
        value.is_number() ? "not an integer" : value.type_name());
  check(value.is_number_unsigned() && value.get<uint64_t>() < kMaxTokens, "the id of \"",
        token.substr(0, 100), "\" is ", value.dump(), ", ids lie in 0 to ", kMaxTokens - 1);
  return value.get<int32_t>();
}

AddedToken TokenizerJson::added_token(const json& entry) const {
  check(entry.is_object(), "an added token is ", entry.type_name());
  AddedToken token;
  token.text = member(entry, "content", json::value_t::string).get<std::string>();
  token.special = flag(entry, "special", false);
  token.normalized = flag(entry, "normalized", !token.special);
  for (const char* option : {"lstrip", "rstrip", "single_word"}) {
    know(!flag(entry, option, false), "added token \"", token.text.substr(0, 100), "\" with ",
         option);
  }
  return token;
}

TokenizerConfig TokenizerJson::read_config(const std::string& source) const {
  TokenizerConfig config;
  if (source.empty()) return config;
  const json root = parse_json(source, where_);
  check(root.is_object(), "tokenizer_config.json is ", root.type_name());
  if (find(root, "add_bos_token")) config.add_bos = flag(root, "add_bos_token", false);
  if (const json* bos = find(root, "bos_token")) {
    config.bos_token = bos->is_object() ? text(*bos, "content") : text(root, "bos_token");
    check(!config.bos_token->empty(), "\"bos_token\" is empty");
  }
  if (!find(root, "added_tokens_decoder")) return config;
  for (const auto& [key, entry] :
       member(root, "added_tokens_decoder", json::value_t::object).items()) {
    AddedToken token = added_token(entry);
    check(key.size() <= 7 && key.find_first_not_of("0123456789") == key.npos && !key.empty(),
          "added_tokens_decoder has the id \"", key.substr(0, 100), "\"");
    token.id = id(json(std::stoul(key)), token.text);
    config.added.push_back(std::move(token));
  }
  return config;
}

}  // namespace octet

#pragma once
// Typed access to the JSON files that describe a tokenizer. A member of the wrong type is an
// InvalidFile that names it.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/core/error.h"
#include "lib/text/tokenizer_added.h"

namespace octet {

/// What octet takes from a tokenizer_config.json.
struct TokenizerConfig {
  std::optional<std::string> bos_token;
  std::optional<bool> add_bos;
  std::vector<AddedToken> added;  ///< added_tokens_decoder
};

class TokenizerJson {
 public:
  using json = nlohmann::json;

  /// `where` names the file and outlives the reader.
  explicit TokenizerJson(const std::string& where) : where_(where) {}

  /// text: of a tokenizer_config.json; may be empty. Errors: InvalidFile.
  TokenizerConfig read_config(const std::string& text) const;

 protected:
  /// Fails with InvalidFile.
  template <class... Parts>
  void check(bool ok, const Parts&... parts) const {
    require(ok, ErrorCode::InvalidFile, where_, ": ", parts...);
  }
  /// Fails with Unsupported.
  template <class... Parts>
  void know(bool ok, const Parts&... parts) const {
    require(ok, ErrorCode::Unsupported, where_, ": ", parts...);
  }

  /// Null if the member is absent or null.
  static const json* find(const json& object, const char* key);
  /// A member that must be there.
  const json& member(const json& object, const char* key, json::value_t type) const;
  bool flag(const json& object, const char* key, bool otherwise) const;
  /// Empty if the member is absent.
  std::string text(const json& object, const char* key) const;
  /// A token's id, in 0 to kMaxTokens - 1.
  int32_t id(const json& value, std::string_view token) const;
  /// An entry of added_tokens or added_tokens_decoder, without its id.
  AddedToken added_token(const json& entry) const;

  const std::string& where_;
};

}  // namespace octet

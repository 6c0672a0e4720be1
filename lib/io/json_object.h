#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace octet {

/// A JSON object whose members are asked for by type. A member that is null counts as absent.
/// Errors of all getters: InvalidFile naming file and key if the member is of another type (a
/// number in quotes is no number, 24.5 no integer); of the required_ ones also if it is absent.
class JsonObject {
 public:
  /// The value has to outlive the object. Errors: InvalidFile if it is not an object.
  JsonObject(const nlohmann::json& value, const std::string& where);

  bool has(std::string_view key) const { return find(key) != nullptr; }
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> text(std::string_view key) const;
  std::optional<JsonObject> object(std::string_view key) const;
  /// One integer or a list of them; empty if absent.
  std::vector<int64_t> integers(std::string_view key) const;

  int64_t required_integer(std::string_view key) const { return required(integer(key), key); }
  double required_number(std::string_view key) const { return required(number(key), key); }
  std::string required_text(std::string_view key) const { return required(text(key), key); }
  bool required_boolean(std::string_view key) const { return required(boolean(key), key); }
  JsonObject required_object(std::string_view key) const { return required(object(key), key); }

  /// Null if absent. For values of mixed type.
  const nlohmann::json* find(std::string_view key) const;
  const nlohmann::json& value() const { return *value_; }
  const std::string& where() const { return where_; }

 private:
  template <class T>
  T required(std::optional<T> member, std::string_view key) const {
    if (!member) fail_missing(key);
    return *std::move(member);
  }
  [[noreturn]] void fail_missing(std::string_view key) const;
  [[noreturn]] void fail_type(std::string_view key, const nlohmann::json& found,
                              std::string_view expected) const;
  int64_t as_integer(const nlohmann::json& value, std::string_view key) const;

  const nlohmann::json* value_;
  std::string where_;
};

}  // namespace octet

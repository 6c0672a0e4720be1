#include "lib/io/json_object.h"

#include "lib/core/error.h"

namespace octet {

using nlohmann::json;

JsonObject::JsonObject(const json& value, const std::string& where)
    : value_(&value), where_(where) {
  require(value.is_object(), ErrorCode::InvalidFile, where, ": ", value.type_name(),
          " where an object is expected");
}

const json* JsonObject::find(std::string_view key) const {
  const auto found = value_->find(key);
  return found == value_->end() || found->is_null() ? nullptr : &*found;
}

std::optional<int64_t> JsonObject::integer(std::string_view key) const {
  const json* member = find(key);
  if (!member) return {};
  return as_integer(*member, key);
}

std::optional<double> JsonObject::number(std::string_view key) const {
  const json* member = find(key);
  if (!member) return {};
  if (!member->is_number()) fail_type(key, *member, "a number");
  return member->get<double>();
}

std::optional<bool> JsonObject::boolean(std::string_view key) const {
  const json* member = find(key);
  if (!member) return {};
  if (!member->is_boolean()) fail_type(key, *member, "true or false");
  return member->get<bool>();
}

std::optional<std::string> JsonObject::text(std::string_view key) const {
  const json* member = find(key);
  if (!member) return {};
  if (!member->is_string()) fail_type(key, *member, "a string");
  return member->get<std::string>();
}

std::optional<JsonObject> JsonObject::object(std::string_view key) const {
  const json* member = find(key);
  if (!member) return {};
  return JsonObject(*member, str(where_, ": ", key));
}

std::vector<int64_t> JsonObject::integers(std::string_view key) const {
  const json* member = find(key);
  if (!member) return {};
  if (!member->is_array()) return {as_integer(*member, key)};
  std::vector<int64_t> integers;
  for (const json& element : *member) integers.push_back(as_integer(element, key));
  return integers;
}

int64_t JsonObject::as_integer(const json& value, std::string_view key) const {
  if (!value.is_number_integer()) fail_type(key, value, "an integer");
  require(!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX, ErrorCode::InvalidFile,
          where_, ": ", key, ": ", value.dump(), " is out of range");
  return value.get<int64_t>();
}

void JsonObject::fail_missing(std::string_view key) const {
  fail(ErrorCode::InvalidFile, where_, ": ", key, " is missing");
}

void JsonObject::fail_type(std::string_view key, const json& found,
                           std::string_view expected) const {
  fail(ErrorCode::InvalidFile, where_, ": ", key, ": ", found.type_name(), " where ", expected,
       " is expected");
}

}  // namespace octet

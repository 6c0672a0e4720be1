#include "tools/serve/fields.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "tools/serve/api_error.h"

namespace octet::serve {
namespace {

/// An integer, also where it is written as 1.0.
std::optional<int64_t> whole_number(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const double number = value.get<double>();
  constexpr double exact = 9007199254740992.0;  // 2^53
  if (std::trunc(number) != number || std::abs(number) > exact) return std::nullopt;
  return static_cast<int64_t>(number);
}

std::string short_number(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

}  // namespace

std::string describe(const Json& value) {
  if (value.is_number() || value.is_boolean()) return dump(value);
  return std::string(value.is_array() || value.is_object() ? "an " : "a ") + value.type_name();
}

Fields::Fields(const Json& object, std::string name) : object_(object), name_(std::move(name)) {
  if (!object.is_object())
    throw ApiError(
        400,
        (name_.empty() ? "the body" : name_) + " is " + describe(object) + ", expected an object",
        name_);
}

std::string Fields::path(const std::string& name) const {
  return name_.empty() ? name : name_ + '.' + name;
}

void Fields::fail(const char* name, const std::string& expected) const {
  const auto found = object_.find(name);
  const std::string is = found == object_.end() ? "missing" : describe(*found);
  throw ApiError(400, path(name) + " is " + is + ", expected " + expected, path(name));
}

const Json* Fields::any(const char* name) {
  known_.emplace_back(name);
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<bool> Fields::boolean(const char* name) {
  const Json* value = any(name);
  if (!value) return std::nullopt;
  if (!value->is_boolean()) fail(name, "true or false");
  return value->get<bool>();
}

std::optional<int64_t> Fields::integer(const char* name, int64_t min, int64_t max) {
  const Json* value = any(name);
  if (!value) return std::nullopt;
  const std::optional<int64_t> number = whole_number(*value);
  if (!number || *number < min || *number > max)
    fail(name, "an integer from " + std::to_string(min) + " to " + std::to_string(max));
  return number;
}

std::optional<double> Fields::number(const char* name, double min, double max) {
  const Json* value = any(name);
  if (!value) return std::nullopt;
  if (!value->is_number() || !(value->get<double>() >= min && value->get<double>() <= max))
    fail(name, "a number from " + short_number(min) + " to " + short_number(max));
  return value->get<double>();
}

std::optional<std::string> Fields::text(const char* name) {
  const Json* value = any(name);
  if (!value) return std::nullopt;
  if (!value->is_string()) fail(name, "a string");
  return value->get<std::string>();
}

std::optional<std::string> Fields::choice(const char* name,
                                          std::initializer_list<const char*> choices) {
  std::optional<std::string> value = text(name);
  if (!value) return value;
  std::string list;
  for (const char* one : choices) {
    if (*value == one) return value;
    list += (list.empty() ? "\"" : ", \"") + std::string(one) + '"';
  }
  fail(name, (choices.size() > 1 ? "one of " : "") + list);
}

void Fields::ignore(std::initializer_list<const char*> names) {
  known_.insert(known_.end(), names.begin(), names.end());
}

void Fields::unsupported(const char* name, std::initializer_list<Json> neutral) {
  const Json* value = any(name);
  if (!value || std::find(neutral.begin(), neutral.end(), *value) != neutral.end()) return;
  throw ApiError(400, path(name) + " is not supported", path(name), "unsupported_parameter");
}

void Fields::finish() const {
  for (const auto& [name, value] : object_.items())
    if (std::find(known_.begin(), known_.end(), name) == known_.end())
      throw ApiError(400, "unknown field " + path(name), path(name), "unknown_parameter");
}

}  // namespace octet::serve

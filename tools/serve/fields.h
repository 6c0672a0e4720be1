#pragma once
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "tools/serve/json.h"

namespace octet::serve {

/// The fields of a JSON object in a request, read one by one with their types and ranges checked.
/// null counts as absent. Errors: ApiError 400 that names the field.
class Fields {
 public:
  /// name: of the object itself, for messages; empty for the body. object must outlive this.
  explicit Fields(const Json& object, std::string name = {});

  /// nullptr if absent.
  const Json* any(const char* name);
  std::optional<bool> boolean(const char* name);
  std::optional<int64_t> integer(const char* name, int64_t min, int64_t max);
  std::optional<double> number(const char* name, double min, double max);
  std::optional<std::string> text(const char* name);
  /// One of these texts.
  std::optional<std::string> choice(const char* name, std::initializer_list<const char*> choices);

  /// Known, and without effect here.
  void ignore(std::initializer_list<const char*> names);
  /// Known, but refused unless it has no effect: absent, or one of these values.
  void unsupported(const char* name, std::initializer_list<Json> neutral = {});
  /// After all: refuses what nobody asked for.
  void finish() const;

  [[noreturn]] void fail(const char* name, const std::string& expected) const;
  std::string path(const std::string& name) const;

 private:
  const Json& object_;
  std::string name_;
  std::vector<std::string> known_;
};

/// What a value is, for messages: "a string", "null".
std::string describe(const Json& value);

}  // namespace octet::serve

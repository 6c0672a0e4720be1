#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace octet::serve {

/// The keys that clients may show, as "Authorization: Bearer KEY".
class ApiKeys {
 public:
  /// None: everybody may pass.
  ApiKeys() = default;
  /// A key a line; empty lines and those that begin with # do not count.
  /// Errors: Io; InvalidArgument for a file without keys, or a key with spaces or control
  /// characters in it.
  static ApiKeys load(const std::string& path);

  bool required() const { return !keys_.empty(); }
  /// In a time that depends on the lengths alone, not on how much of a key was right.
  bool accepts(std::string_view authorization) const;

 private:
  std::vector<std::string> keys_;
};

}  // namespace octet::serve

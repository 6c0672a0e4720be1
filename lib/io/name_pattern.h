#pragma once
#include <memory>
#include <string>
#include <string_view>

struct pcre2_real_code_8;

namespace octet {

/// A regular expression over the names of modules ("model.layers.0.mlp.up_proj"), written for
/// Python's `re`, out of a file that nobody vouches for.
class NamePattern {
 public:
  /// where: the file and key, for errors. Errors: InvalidFile if it is none.
  NamePattern(std::string_view pattern, const std::string& where);

  /// As re.match: from the name's start on. Errors: InvalidFile if the search takes too long.
  bool matches_start(std::string_view name) const { return matches(name, false); }
  /// As re.fullmatch.
  bool matches_whole(std::string_view name) const { return matches(name, true); }

 private:
  bool matches(std::string_view name, bool whole) const;

  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  std::string pattern_, where_;
  std::unique_ptr<pcre2_real_code_8, Free> code_;
};

}  // namespace octet

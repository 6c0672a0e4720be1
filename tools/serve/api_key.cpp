#include "tools/serve/api_key.h"

#include <octet/error.h>
#include <strings.h>

#include <algorithm>
#include <fstream>

namespace octet::serve {
namespace {

bool equal_in_constant_time(std::string_view key, std::string_view given) {
  unsigned difference = key.size() != given.size();
  for (size_t i = 0; i < given.size(); ++i)
    difference |= static_cast<unsigned char>(key[i % key.size()] ^ given[i]);
  return difference == 0;
}

}  // namespace

ApiKeys ApiKeys::load(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Error(ErrorCode::Io, path + ": cannot be read");
  ApiKeys result;
  for (std::string line; std::getline(file, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || line[0] == '#') continue;
    if (std::any_of(line.begin(), line.end(), [](char c) { return c <= ' ' || c > '~'; }))
      throw Error(ErrorCode::InvalidArgument,
                  path + ": a key must consist of printable ASCII characters without spaces");
    result.keys_.push_back(line);
  }
  if (result.keys_.empty()) throw Error(ErrorCode::InvalidArgument, path + ": holds no key");
  return result;
}

bool ApiKeys::accepts(std::string_view authorization) const {
  constexpr std::string_view scheme = "Bearer ";
  if (authorization.size() < scheme.size() ||
      strncasecmp(authorization.data(), scheme.data(), scheme.size()) != 0)
    return false;
  authorization.remove_prefix(scheme.size());
  bool accepted = false;
  for (const std::string& key : keys_)
    accepted |= equal_in_constant_time(key, authorization);  // each is compared
  return accepted;
}

}  // namespace octet::serve

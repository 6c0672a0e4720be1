#pragma once
// How the library raises errors: fail(code, parts...) builds the message from its parts.
#include <octet/error.h>

#include <sstream>
#include <utility>

namespace octet {

/// The parts written one after another, as operator<< writes them.
template <class... Parts>
std::string str(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

template <class... Parts>
[[noreturn]] void fail(ErrorCode code, const Parts&... parts) {
  throw Error(code, str(parts...));
}

template <class... Parts>
void require(bool ok, ErrorCode code, const Parts&... parts) {
  if (!ok) [[unlikely]]
    fail(code, parts...);
}

}  // namespace octet

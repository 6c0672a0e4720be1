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

/// A message as one readable line: parts of it may be names out of a hostile file, with bytes that
/// a terminal would act on, with NULs, or megabytes long (of those the middle is left out).
std::string one_line(std::string message);

template <class... Parts>
[[noreturn]] void fail(ErrorCode code, const Parts&... parts) {
  throw Error(code, one_line(str(parts...)));
}

template <class... Parts>
void require(bool ok, ErrorCode code, const Parts&... parts) {
  if (!ok) [[unlikely]]
    fail(code, parts...);
}

}  // namespace octet

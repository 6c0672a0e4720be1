#include "lib/core/error.h"

namespace octet {

const char* to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::InvalidFile:
      return "InvalidFile";
    case ErrorCode::Unsupported:
      return "Unsupported";
    case ErrorCode::OutOfMemory:
      return "OutOfMemory";
    case ErrorCode::InvalidArgument:
      return "InvalidArgument";
    case ErrorCode::Cancelled:
      return "Cancelled";
    case ErrorCode::Device:
      return "Device";
    case ErrorCode::Io:
      return "Io";
    case ErrorCode::Internal:
      return "Internal";
    case ErrorCode::Busy:
      return "Busy";
  }
  return "Internal";
}

std::string one_line(std::string message) {
  constexpr size_t head = 6'000, tail = 1'000;  // a path has up to 4,096 bytes
  if (message.size() > head + tail)
    message = message.substr(0, head) + " ... " + message.substr(message.size() - tail);
  for (char& c : message) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = '?';
  }
  return message;
}

}  // namespace octet

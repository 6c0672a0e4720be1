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
  }
  return "Internal";
}

}  // namespace octet

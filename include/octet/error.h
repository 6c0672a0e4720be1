#pragma once
#include <octet/export.h>

#include <exception>
#include <string>

namespace OCTET_EXPORT octet {

/// What kind of failure an Error reports. to_string() gives the name that the command prints. The
/// numbers are those of octet/c.h, where 0 is success.
enum class ErrorCode {
  InvalidFile = 1,  ///< a file's content breaks its format, or disagrees with another part of it
  Unsupported,      ///< well formed, but something octet does not know
  OutOfMemory,      ///< memory that was asked for is not there; the message names both numbers
  InvalidArgument,  ///< a value from the caller: an option, a shape, an index
  Cancelled,        ///< stopped on request
  Device,           ///< a device is missing or failed
  Io,               ///< the operating system refused to read or write
  Internal,         ///< a defect in octet
  Busy,             ///< no place in a queue now; later there may be one
};

/// "InvalidFile", "Unsupported", ...
const char* to_string(ErrorCode code) noexcept;

/// The one exception type that octet throws. The message names the file, the tensor or option,
/// and the two values that disagree.
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}
  ErrorCode code() const noexcept { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  ErrorCode code_;
  std::string message_;
};

}  // namespace octet

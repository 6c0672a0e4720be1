#pragma once
// What every function of octet/c.h goes through: no exception leaves it, and no NULL gets far.
#include <octet/c.h>
#include <octet/error.h>

#include <new>
#include <span>
#include <string_view>

#include "lib/core/error.h"

namespace octet::c {

/// Keeps the message for octet_last_error() and returns the status.
octet_status failed(octet_status status, const char* message) noexcept;

/// Runs the body of a function of the interface.
template <class Body>
octet_status call(const Body& body) noexcept {
  try {
    body();
    return OCTET_OK;
  } catch (const Error& error) {
    return failed(static_cast<octet_status>(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return failed(OCTET_OUT_OF_MEMORY, "the system has no memory left");
  } catch (const std::exception& error) {
    return failed(OCTET_INTERNAL, error.what());
  } catch (...) {
    return failed(OCTET_INTERNAL, "a callback threw something that is not a std::exception");
  }
}

/// Errors: InvalidArgument, naming the argument, if it is NULL.
template <class T>
T& given(T* argument, const char* name) {
  require(argument, ErrorCode::InvalidArgument, name, " is NULL");
  return *argument;
}
inline std::string_view text(const char* argument, const char* name) {
  return &given(argument, name);
}
/// `count` elements, which may be none at NULL.
template <class T>
std::span<const T> array(const T* argument, size_t count, const char* name) {
  require(argument || count == 0, ErrorCode::InvalidArgument, name, " is NULL, its count ", count);
  return {argument, count};
}

/// A struct whose size the caller knows. Errors: InvalidArgument.
template <class Struct>
Struct& sized(Struct* argument, size_t size, const char* name) {
  require(size == sizeof(Struct), ErrorCode::InvalidArgument, "the size of ", name, " is ", size,
          ", this octet knows the struct with ", sizeof(Struct), " bytes");
  return given(argument, name);
}

/// Copies for octet_free(). Errors: bad_alloc.
char* copy(std::string_view text);
int32_t* copy(std::span<const int32_t> ids);
float* copy(std::span<const float> numbers);

}  // namespace octet::c

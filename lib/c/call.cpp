#include "lib/c/call.h"

#include <algorithm>
#include <cstdlib>
#include <string>

namespace octet::c {
namespace {

thread_local std::string last_error;

template <class T>
T* copy_elements(const T* first, size_t count, size_t room) {
  T* memory = static_cast<T*>(std::malloc(std::max<size_t>(room, 1) * sizeof(T)));
  if (!memory) throw std::bad_alloc();
  std::copy_n(first, count, memory);
  return memory;
}

}  // namespace

octet_status failed(octet_status status, const char* message) noexcept {
  try {
    last_error = message;
  } catch (...) {
    last_error.clear();  // the status still tells
  }
  return status;
}

char* copy(std::string_view text) {
  char* memory = copy_elements(text.data(), text.size(), text.size() + 1);
  memory[text.size()] = '\0';
  return memory;
}

int32_t* copy(std::span<const int32_t> ids) {
  return copy_elements(ids.data(), ids.size(), ids.size());
}

float* copy(std::span<const float> numbers) {
  return copy_elements(numbers.data(), numbers.size(), numbers.size());
}

}  // namespace octet::c

const char* octet_status_name(int status) {
  if (status == OCTET_OK) return "Ok";
  if (status < OCTET_OK || status > OCTET_BUSY) return "Unknown";
  return octet::to_string(static_cast<octet::ErrorCode>(status));
}

const char* octet_last_error() {
  return octet::c::last_error.c_str();
}

void octet_free(void* memory) {
  std::free(memory);
}

const char* octet_version() {
  return OCTET_VERSION;
}

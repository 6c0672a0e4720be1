#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "lib/core/error.h"

namespace octet {

/// Uninitialized memory on a 64-byte boundary.
template <class T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  /// Errors: OutOfMemory.
  explicit AlignedBuffer(size_t count) : size_(count) {
    size_t bytes = 0;
    const bool fits = !__builtin_mul_overflow(count, sizeof(T), &bytes) &&
                      !__builtin_add_overflow(bytes, size_t{63}, &bytes);
    require(fits, ErrorCode::OutOfMemory, count, " elements of ", sizeof(T),
            " bytes are more than an address space holds");
    data_.reset(static_cast<T*>(std::aligned_alloc(64, bytes / 64 * 64 + (bytes < 64 ? 64 : 0))));
    require(data_ != nullptr, ErrorCode::OutOfMemory, "cannot allocate ", bytes, " bytes");
  }

  T* data() const { return data_.get(); }
  size_t size() const { return size_; }
  T& operator[](size_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* pointer) const { std::free(pointer); }
  };
  std::unique_ptr<T, Free> data_;
  size_t size_ = 0;
};

}  // namespace octet

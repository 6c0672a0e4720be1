#pragma once
#include <octet/export.h>

namespace OCTET_EXPORT octet {

/// A counted reference to an implementation that the headers do not show (std::shared_ptr would
/// bring 35,000 preprocessed lines). Copies share; the library defines retain() and release()
/// for each T it is used with. Copying and destroying are thread-safe.
template <class T>
class Handle {
 public:
  Handle() = default;
  /// Takes over one reference.
  explicit Handle(T* target) noexcept : target_(target) {}
  Handle(const Handle& other) noexcept : target_(other.target_) {
    if (target_) retain(target_);
  }
  Handle(Handle&& other) noexcept : target_(other.target_) { other.target_ = nullptr; }
  Handle& operator=(Handle other) noexcept {
    T* const mine = target_;
    target_ = other.target_;
    other.target_ = mine;  // and is released with other
    return *this;
  }
  ~Handle() {
    if (target_) release(target_);
  }

  T* operator->() const noexcept { return target_; }
  T& operator*() const noexcept { return *target_; }
  explicit operator bool() const noexcept { return target_ != nullptr; }

 private:
  T* target_ = nullptr;
};

}  // namespace octet

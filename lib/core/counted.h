#pragma once
// The library's side of octet/handle.h: a base class with the count.
#include <octet/handle.h>

#include <atomic>

namespace octet {

/// Base of every implementation behind a Handle. Starts with one reference.
struct Counted {
  std::atomic<int> references{1};
  virtual ~Counted() = default;
};

inline void retain_counted(Counted* object) noexcept {
  object->references.fetch_add(1, std::memory_order_relaxed);
}

inline void release_counted(Counted* object) noexcept {
  if (object->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete object;
}

}  // namespace octet

#pragma once
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace octet {

/// A mutex that is handed over in the order in which it was asked for. With std::mutex, a thread
/// that locks again at once (an engine's, step after step) can keep others out for ever.
class TurnMutex {
 public:
  void lock() {
    std::unique_lock lock(mutex_);
    const uint64_t ticket = next_++;
    changed_.wait(lock, [&] { return serving_ == ticket; });
  }
  void unlock() {
    std::lock_guard lock(mutex_);
    ++serving_;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t next_ = 0, serving_ = 0;
};

}  // namespace octet

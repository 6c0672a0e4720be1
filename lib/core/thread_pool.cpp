#include "lib/core/thread_pool.h"

#include <chrono>
#include <system_error>

#include "lib/core/error.h"

namespace octet {
namespace {

constexpr auto spin_time = std::chrono::microseconds(40);

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");  // on most cores `yield` does nothing
#endif
}

/// Spins until done() or the spin time is over; returns done().
template <class Done>
bool spin_until(Done done) {
  const auto deadline = std::chrono::steady_clock::now() + spin_time;
  do {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return done();
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  require(threads >= 1, ErrorCode::InvalidArgument, "threads: ", threads, ", at least 1 expected");
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { worker(i); });
  } catch (const std::system_error& error) {
    const size_t started = workers_.size();
    stop_ = true;
    loop_.fetch_add(1);
    { std::lock_guard lock(mutex_); }
    wake_.notify_all();
    for (std::thread& thread : workers_) thread.join();
    fail(ErrorCode::OutOfMemory, "cannot start ", threads, " threads, only ", started + 1, ": ",
         error.what());
  }
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  loop_.fetch_add(1);
  { std::lock_guard lock(mutex_); }  // a worker is either before its check or asleep
  wake_.notify_all();
  for (std::thread& thread : workers_) thread.join();
}

void ThreadPool::for_each(int64_t items, FunctionRef<void(int64_t, int)> work) {
  if (items <= 0) return;
  std::lock_guard turn(turn_);
  work_ = &work;
  items_ = items;
  error_ = nullptr;
  next_.store(0, std::memory_order_relaxed);
  const bool alone = items == 1 || workers_.empty();
  if (!alone) {
    busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    loop_.fetch_add(1, std::memory_order_seq_cst);
    { std::lock_guard lock(mutex_); }
    wake_.notify_all();
  }
  take_items(0);
  if (!alone) {
    const auto finished = [&] { return busy_.load(std::memory_order_acquire) == 0; };
    while (!spin_until(finished)) std::this_thread::yield();
  }
  if (error_) std::rethrow_exception(error_);
}

void ThreadPool::take_items(int thread) {
  for (;;) {
    const int64_t item = next_.fetch_add(1, std::memory_order_relaxed);
    if (item >= items_) return;
    try {
      require(!cancelled_ || !cancelled_->load(std::memory_order_relaxed), ErrorCode::Cancelled,
              "the work was cancelled");
      (*work_)(item, thread);
    } catch (...) {
      std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
      next_.store(items_, std::memory_order_relaxed);
    }
  }
}

void ThreadPool::worker(int thread) {
  uint64_t seen = 0;
  const auto changed = [&] { return loop_.load(std::memory_order_acquire) != seen; };
  for (;;) {
    if (!spin_until(changed)) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, changed);
    }
    seen = loop_.load(std::memory_order_acquire);
    if (stop_) return;
    take_items(thread);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace octet

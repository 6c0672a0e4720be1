#include "lib/core/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <system_error>

#include "lib/core/error.h"

namespace octet {
namespace {

/// Longer than the gap between two steps, in which a token is drawn and its text handed over (0.1
/// ms): waking a thread that sleeps takes as long again.
constexpr auto spin_time = std::chrono::microseconds(200);

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");  // on most cores `yield` does nothing
#endif
}

}  // namespace

/// A few lines: more would keep the thread from seeing that the next loop has begun. False if
/// nothing is left.
bool ThreadPool::Wanted::ask_for_some() {
  constexpr int lines = 4, line = 64;
  if (bytes <= 0) return false;
  for (int i = 0; i < lines; ++i, address += line)
    __builtin_prefetch(reinterpret_cast<const void*>(address), 0, 2);
  bytes -= lines * line;
  return true;
}

/// Spins until done() or the spin time is over; returns done().
template <class Done>
bool ThreadPool::spin_until(int thread, Done done) {
  Wanted& wanted = wanted_[static_cast<size_t>(thread)];
  const auto deadline = std::chrono::steady_clock::now() + spin_time;
  do {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      if (!wanted.ask_for_some()) pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return done();
}

ThreadPool::ThreadPool(int threads)
    : next_(static_cast<size_t>(std::max(threads, 0))), wanted_(next_.size()), threads_(threads) {
  require(threads >= 1, ErrorCode::InvalidArgument, "threads: ", threads, ", at least 1 expected");
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { worker(i); });
  } catch (const std::system_error& error) {
    const size_t started = workers_.size();
    end_workers();
    fail(ErrorCode::OutOfMemory, "cannot start ", threads, " threads, only ", started + 1, ": ",
         error.what());
  }
}

ThreadPool::ThreadPool(const Executor& executor)
    : next_(static_cast<size_t>(std::max(executor.threads, 0))),
      wanted_(next_.size()),
      threads_(executor.threads),
      executor_(executor) {
  require(threads_ >= 1, ErrorCode::InvalidArgument, "executor.threads: ", threads_,
          ", at least 1 expected");
}

ThreadPool::~ThreadPool() {
  end_workers();
}

void ThreadPool::end_workers() {
  stop_ = true;
  wake_workers();
  for (std::thread& thread : workers_) thread.join();
}

void ThreadPool::wake_workers() {
  loop_.fetch_add(1, std::memory_order_seq_cst);
  // A worker counts itself before it looks at loop_ for the last time: one of us sees the other.
  if (asleep_.load(std::memory_order_seq_cst) == 0) return;
  { std::lock_guard lock(mutex_); }  // it is either before that look or asleep
  wake_.notify_all();
}

void ThreadPool::for_each(int64_t items, FunctionRef<void(int64_t, int)> work, int64_t parts) {
  if (items <= 0) return;
  std::lock_guard turn(turn_);
  work_ = &work;
  items_ = items;
  parts_ = parts;
  error_ = nullptr;
  for (int64_t part = 0; part < parts; ++part)
    next_[static_cast<size_t>(part)].item.store(part_begin(part), std::memory_order_relaxed);
  if (items == 1 || threads_ == 1)
    take_items(0);
  else if (executor_.run)
    run_executor();
  else
    run_team();
  if (error_) std::rethrow_exception(error_);
}

void ThreadPool::run_team() {
  busy_.store(threads_ - 1, std::memory_order_relaxed);
  wake_workers();
  take_items(0);
  const auto finished = [&] { return busy_.load(std::memory_order_acquire) == 0; };
  while (!spin_until(0, finished)) std::this_thread::yield();
}

void ThreadPool::run_executor() {
  const auto work = [](void* pool, int thread) {
    static_cast<ThreadPool*>(pool)->take_items(thread);
  };
  executor_.run(executor_.host, threads_, work, this);
  for (int64_t part = 0; part < parts_; ++part)
    require(next_[static_cast<size_t>(part)].item.load() >= part_begin(part + 1),
            ErrorCode::InvalidArgument, "executor: run() returned before its work was done");
}

void ThreadPool::take_items(int thread) {
  const int64_t first = parts_ * thread / threads_;
  for (int64_t i = 0; i < parts_; ++i) take_part((first + i) % parts_, thread);
}

void ThreadPool::take_part(int64_t part, int thread) {
  std::atomic<int64_t>& next = next_[static_cast<size_t>(part)].item;
  const int64_t end = part_begin(part + 1);
  // Reading first: the threads that find nothing left do not take the counter from each other.
  while (next.load(std::memory_order_relaxed) < end) {
    const int64_t item = next.fetch_add(1, std::memory_order_relaxed);
    if (item >= end) return;
    try {
      require(!cancelled_ || !cancelled_->load(std::memory_order_relaxed), ErrorCode::Cancelled,
              "the work was cancelled");
      (*work_)(item, thread);
    } catch (...) {
      std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
      for (NextItem& each : next_) each.item.store(items_, std::memory_order_relaxed);
    }
  }
}

void ThreadPool::worker(int thread) {
  uint64_t seen = 0;
  const auto changed = [&] { return loop_.load(std::memory_order_seq_cst) != seen; };
  for (;;) {
    if (!spin_until(thread, changed)) {
      std::unique_lock lock(mutex_);
      asleep_.fetch_add(1, std::memory_order_seq_cst);
      wake_.wait(lock, changed);
      asleep_.fetch_sub(1, std::memory_order_relaxed);
    }
    seen = loop_.load(std::memory_order_acquire);
    if (stop_) return;
    take_items(thread);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace octet

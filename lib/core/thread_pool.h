#pragma once
#include <octet/device.h>
#include <octet/function_ref.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

namespace octet {

/// A fixed team of threads that share the items of one loop at a time: the pool's own, of which the
/// caller is one, or those of an Executor. Idle threads spin for 0.2 ms (longer than the gap
/// between two decoder steps), then sleep. for_each() does not allocate.
class ThreadPool {
 public:
  /// threads: at least 1. Errors: OutOfMemory if the system gives no more threads.
  explicit ThreadPool(int threads);
  /// executor.run is not null. Errors: InvalidArgument if executor.threads is not positive.
  explicit ThreadPool(const Executor& executor);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// Loops from now on end early when `flag` turns true; null: they do not.
  void cancel_with(const std::atomic<bool>* flag) { cancelled_ = flag; }

  int threads() const { return threads_; }

  /// Has this thread, from whose `work` it is called, ask for some memory while it waits for
  /// others, here or after later loops: it comes into its second-level cache meanwhile. In place of
  /// what it was to ask for until now. An executor's threads do not wait here, nor ask.
  void prefetch_while_waiting(int thread, std::span<const std::byte> memory) {
    wanted_[static_cast<size_t>(thread)] = {reinterpret_cast<uintptr_t>(memory.data()),
                                            static_cast<int64_t>(memory.size())};
  }

  /// Calls work(item, thread) for every item in [0, items), each once, handed out in rising order
  /// to whichever thread is free; returns when all are done. Rethrows the first exception (the
  /// items that have not begun are then left out). Calls from several threads take turns.
  /// Not to be called from inside `work`.
  /// parts: each thread begins with one of so many equal ranges of the items, and goes on to the
  /// others when that is done: what it wrote in a range of one loop is in its cache when it comes
  /// to the same range of the next. From 1 to threads(). Errors: Cancelled, where cancel_with() has
  /// set a flag and it is true; InvalidArgument if an executor did not run it.
  void for_each(int64_t items, FunctionRef<void(int64_t item, int thread)> work, int64_t parts = 1);

 private:
  /// What a thread asks for while it waits; its own alone.
  struct alignas(64) Wanted {
    uintptr_t address = 0;  // not a pointer: nothing need be there
    int64_t bytes = 0;
    bool ask_for_some();
  };
  template <class Done>
  bool spin_until(int thread, Done done);
  void worker(int thread);
  void wake_workers();
  void end_workers();
  void take_items(int thread);
  void take_part(int64_t part, int thread);
  int64_t part_begin(int64_t part) const { return items_ * part / parts_; }
  void run_team();
  void run_executor();

  // What threads wait for or change together has a cache line each.
  alignas(64) std::atomic<uint64_t> loop_{0};  // number of the current loop; workers wait for it
  struct alignas(64) NextItem {
    std::atomic<int64_t> item{0};
  };
  std::vector<NextItem> next_;              // to hand out, of each part
  std::vector<Wanted> wanted_;              // of each thread
  alignas(64) std::atomic<int> busy_{0};    // workers that have not finished the current loop
  alignas(64) std::atomic<int> asleep_{0};  // workers that must be woken
  std::atomic<bool> stop_{false};
  int threads_;
  Executor executor_;
  std::vector<std::thread> workers_;
  std::mutex turn_;   // one loop at a time
  std::mutex mutex_;  // guards sleeping
  std::condition_variable wake_;
  int64_t items_ = 0, parts_ = 1;
  const std::atomic<bool>* cancelled_ = nullptr;
  const FunctionRef<void(int64_t, int)>* work_ = nullptr;
  std::mutex error_mutex_;
  std::exception_ptr error_;
};

}  // namespace octet

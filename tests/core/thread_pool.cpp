#include "lib/core/thread_pool.h"

#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>

#include "lib/core/error.h"

using namespace octet;

TEST_CASE("every item runs once, whatever the number of threads") {
  for (int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (int64_t items : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(items));
      std::atomic<int> wrong_thread{0};
      pool.for_each(items, [&](int64_t item, int thread) {
        runs[static_cast<size_t>(item)]++;
        if (thread < 0 || thread >= threads) wrong_thread++;
      });
      for (auto& count : runs) CHECK(count == 1);
      CHECK(wrong_thread == 0);
    }
  }
}

TEST_CASE("every item of all parts runs once") {
  for (int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    for (int64_t parts = 1; parts <= threads; ++parts)
      for (int64_t items : {0, 1, 3, 1001}) {
        std::vector<std::atomic<int>> runs(static_cast<size_t>(items));
        const auto work = [&](int64_t item, int) { runs[static_cast<size_t>(item)]++; };
        pool.for_each(items, work, parts);
        for (auto& count : runs) CHECK(count == 1);
      }
  }
}

TEST_CASE("each thread begins with its own part") {
  constexpr int threads = 4;
  constexpr int64_t items = 40;
  ThreadPool pool(threads);
  for (int64_t parts : {1, 2, 3, 4}) {
    CAPTURE(parts);
    std::atomic<int> arrived{0};
    std::vector<int64_t> first(threads, -1);
    const auto work = [&](int64_t item, int thread) {
      if (first[static_cast<size_t>(thread)] >= 0) return;
      first[static_cast<size_t>(thread)] = item;
      // Until all have begun no part can have been finished by others.
      for (++arrived; arrived < threads;) std::this_thread::yield();
    };
    pool.for_each(items, work, parts);
    for (int thread = 0; thread < threads; ++thread) {
      const int64_t part = parts * thread / threads;
      CHECK(first[static_cast<size_t>(thread)] >= items * part / parts);
      CHECK(first[static_cast<size_t>(thread)] < items * (part + 1) / parts);
    }
  }
}

TEST_CASE("many short loops after each other, with pauses that let the workers sleep") {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  for (int loop = 0; loop < 2000; ++loop) {
    pool.for_each(5, [&](int64_t item, int) { sum += item; });
    if (loop % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  CHECK(sum == 2000 * 10);
}

TEST_CASE("what threads ask for while they wait changes no loop") {
  ThreadPool pool(3);
  const std::vector<std::byte> data(100000);
  std::atomic<int64_t> sum{0};
  for (int loop = 0; loop < 2000; ++loop) {
    const auto work = [&](int64_t item, int thread) {
      sum += item;
      pool.prefetch_while_waiting(thread, std::span(data).subspan(static_cast<size_t>(loop)));
      if (item == loop % 7) pool.prefetch_while_waiting(thread, {});
    };
    pool.for_each(5, work, loop % 2 ? 3 : 1);
  }
  CHECK(sum == 2000 * 10);
}

TEST_CASE("an exception from an item comes out of for_each, and the pool goes on") {
  ThreadPool pool(2);
  CHECK_THROWS_AS(pool.for_each(100,
                                [](int64_t item, int) {
                                  if (item == 3) throw std::runtime_error("three");
                                }),
                  std::runtime_error);
  const auto fail_at_once = [](int64_t, int) { throw std::runtime_error("each"); };
  CHECK_THROWS_AS(pool.for_each(100, fail_at_once, 2), std::runtime_error);
  std::atomic<int> runs{0};
  pool.for_each(10, [&](int64_t, int) { runs++; });
  CHECK(runs == 10);
}

TEST_CASE("loops from several threads take turns") {
  ThreadPool pool(2);
  std::atomic<int> inside{0}, overlaps{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller)
    callers.emplace_back([&] {
      for (int loop = 0; loop < 50; ++loop)
        pool.for_each(2, [&](int64_t, int) {
          if (++inside > 2) ++overlaps;
          --inside;
        });
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(overlaps == 0);
}

TEST_CASE("a pool without threads is refused") {
  CHECK_THROWS_AS(ThreadPool(0), Error);
}

namespace {

/// Executors of a host program.
void one_after_another(void*, int count, Executor::Work work, void* context) {
  for (int i = count - 1; i >= 0; --i) work(context, i);
}
void threads_of_its_own(void*, int count, Executor::Work work, void* context) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back(work, context, i);
  for (std::thread& thread : threads) thread.join();
}
void forgetful(void*, int, Executor::Work, void*) {}

}  // namespace

TEST_CASE("a host's executor runs every item once, and an exception comes out of for_each") {
  for (Executor::Run run : {one_after_another, threads_of_its_own}) {
    ThreadPool pool(Executor{run, nullptr, 3});
    CHECK(pool.threads() == 3);
    std::vector<std::atomic<int>> runs(100);
    std::atomic<int> wrong_thread{0};
    pool.for_each(100, [&](int64_t item, int thread) {
      runs[static_cast<size_t>(item)]++;
      if (thread < 0 || thread >= 3) wrong_thread++;
    });
    for (auto& count : runs) CHECK(count == 1);
    CHECK(wrong_thread == 0);
    CHECK_THROWS_AS(pool.for_each(9, [](int64_t, int) { throw std::runtime_error("item"); }),
                    std::runtime_error);
  }
}

TEST_CASE("an executor that does not run its work is an error, and so is one without threads") {
  ThreadPool pool(Executor{forgetful, nullptr, 2});
  CHECK_THROWS_WITH_AS(pool.for_each(5, [](int64_t, int) {}),
                       "executor: run() returned before its work was done", Error);
  CHECK_THROWS_AS(ThreadPool(Executor{forgetful, nullptr, 0}), Error);
}

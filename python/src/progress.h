#pragma once
#include <nanobind/nanobind.h>
#include <octet/model.h>

#include <atomic>
#include <optional>

#include "interruptible.h"

/// A Python function as octet's progress callback, which may come from any thread.
class PythonProgress {
 public:
  explicit PythonProgress(const nanobind::object& function) : function_(function) {}

  /// Runs work(Progress) without the interpreter's lock; signals interrupt it. What the function
  /// raises cancels the work and comes out of here.
  template <class Work>
  auto run(const Work& work) {
    try {
      return run_interruptible(
          [&] {
            return work(octet::Progress{&PythonProgress::call, this});
          },
          [&] { interrupted_ = true; });
    } catch (const octet::Error&) {
      if (raised_) throw *std::move(raised_);
      throw;
    }
  }

 private:
  static bool call(void* self, int64_t done, int64_t total) {
    return static_cast<PythonProgress*>(self)->report(done, total);
  }

  bool report(int64_t done, int64_t total) {
    if (interrupted_) return false;
    if (function_.is_none()) return true;
    nanobind::gil_scoped_acquire acquired;
    try {
      return !function_(done, total).is(nanobind::bool_(false));
    } catch (nanobind::python_error& error) {
      raised_.emplace(std::move(error));
      return false;
    }
  }

  const nanobind::object& function_;
  std::atomic<bool> interrupted_{false};
  std::optional<nanobind::python_error> raised_;
};

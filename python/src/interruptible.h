#pragma once
#include <nanobind/nanobind.h>
#include <octet/error.h>

#include <chrono>
#include <future>
#include <optional>

/// Runs work() in a thread of its own, without the interpreter's lock, and looks for signals
/// meanwhile, which Python only does in the thread that called. If a signal's handler raises
/// (Ctrl-C: KeyboardInterrupt), calls cancel(), and what was raised comes out once work has ended.
template <class Work, class Cancel>
auto run_interruptible(const Work& work, const Cancel& cancel) {
  auto result = std::async(std::launch::async, work);
  std::optional<nanobind::python_error> raised;
  const auto ended = [&] {
    nanobind::gil_scoped_release released;
    return result.wait_for(std::chrono::milliseconds(20)) == std::future_status::ready;
  };
  while (!ended()) {
    if (raised || PyErr_CheckSignals() == 0) continue;
    raised.emplace();
    cancel();
  }
  if (raised) {
    try {
      result.get();
    } catch (const octet::Error&) {  // it was cancelled
    }
    throw *std::move(raised);
  }
  return result.get();
}

#pragma once
#include <octet/engine.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>

#include "lib/core/counted.h"
#include "lib/generate/answer.h"
#include "lib/generate/sequence.h"

namespace octet {

using Clock = std::chrono::steady_clock;

/// Pieces on their way from the engine's thread to whoever pulls them.
class PieceQueue {
 public:
  void push(GenerationPiece&& piece);
  /// error: null if the answer ended by itself.
  void end(const GenerateStats& stats, std::exception_ptr error);
  /// Until a time; rethrows the error at the end.
  Generation::Poll pull(GenerationPiece& piece, Clock::time_point until);
  GenerateStats stats() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<GenerationPiece> pieces_;
  bool ended_ = false;
  std::exception_ptr error_;
  GenerateStats stats_;
};

/// A request in the engine.
struct EngineTask : Counted {
  EngineTask(const Model& model, EngineRequest&& asked)
      : request(std::move(asked)), answer(model, request.options, request.prompt) {}

  bool is_cancelled() const { return cancelled || request.options.cancel.cancelled(); }
  int64_t prompt_size() const { return static_cast<int64_t>(request.prompt.size()); }

  const EngineRequest request;
  uint64_t number = 0;  ///< order of submit()
  Clock::time_point submitted, deadline = Clock::time_point::max();
  int64_t positions = 0;  ///< the most that its sequence will have

  // From any thread.
  std::atomic<bool> cancelled{false};
  PieceQueue out;

  // The engine's thread.
  Answer answer;
  std::unique_ptr<Sequence> sequence;   ///< while it runs
  std::vector<int32_t> entries;         ///< of the PrefixIndex: the sequence's first blocks
  int32_t pending = -1;                 ///< the last token made, not yet evaluated
  std::optional<GenerationPiece> made;  ///< in the current step
  std::exception_ptr error;
  Clock::time_point started, last_token;
};

struct GenerationImpl : Counted {
  explicit GenerationImpl(Handle<EngineTask> owner) : task(std::move(owner)) {}
  ~GenerationImpl() override { task->cancelled = true; }
  Handle<EngineTask> task;
};

inline void retain(EngineTask* task) noexcept {
  retain_counted(task);
}
inline void release(EngineTask* task) noexcept {
  release_counted(task);
}

}  // namespace octet

#pragma once
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "lib/generate/engine_task.h"
#include "lib/generate/prefix_index.h"
#include "lib/generate/step.h"
#include "lib/generate/step_pace.h"

namespace octet {

/// The engine: a queue of requests, and a thread that evaluates some of them step by step.
///
/// Memory: a request starts when the blocks that it may need at most can be had for certain. Blocks
/// in use now, and those that running requests may still take, never exceed the total; what is left
/// holds idle blocks of the PrefixIndex.
struct EngineImpl : Counted {
  EngineImpl(const Model& owner, const EngineOptions& wanted);
  ~EngineImpl() override;

  Generation submit(EngineRequest&& request, double wait_seconds);
  bool drain(double seconds);
  EngineStats stats() const;
  void stop();

  const Model model;
  const EngineOptions options;  ///< with the defaults filled in

 private:
  using Task = Handle<EngineTask>;

  /// What a client's requests have cost so far, in rows (Sheng et al. 2024, arXiv:2401.00588).
  struct Client {
    double served = 0;
    int64_t requests = 0;  ///< waiting or running
  };

  // engine.cpp: the callers' side.
  void check(const EngineRequest& request, int64_t positions) const;
  void enter(const Task& task);
  void leave(const Task& task);

  // engine_loop.cpp: the thread's.
  void loop();
  bool collect();
  void drop_ended_waiting(Clock::time_point now);
  void admit();
  bool fits(const EngineTask& task);
  void drop_ended_running();
  void plan();
  int64_t prompt_rows();
  void take_prefix(EngineTask& task);
  bool follows_another(const EngineTask& task) const;
  int32_t next_prefix_entry(const EngineTask& task) const;
  void make_room();
  void run();
  void run_alone(size_t input);
  void make_tokens(std::span<const StepRow> rows);
  void make_token(size_t input, const RowLogits& row);
  RowLogits sufficient(const StepRow& row);
  void hand_out();
  void deliver(EngineTask& task, GenerationPiece&& piece);
  void keep_prefix(EngineTask& task);
  void finish(size_t index);
  int64_t private_blocks() const;

  const int64_t total_blocks_;
  const Rope rope_;
  const KvReservation reservation_;
  PrefixIndex prefixes_;

  mutable std::mutex mutex_;
  std::condition_variable work_;     // for the thread
  std::condition_variable changed_;  // for callers that wait for a place, or for the end
  std::vector<Task> waiting_;
  std::map<std::string, Client> clients_;
  EngineStats stats_;
  uint64_t last_number_ = 0;
  bool draining_ = false, stopping_ = false;

  // The thread's own.
  std::vector<Task> running_;  // changed under the mutex
  std::vector<SequenceInput> inputs_;
  std::vector<EngineTask*> planned_;  // of the inputs
  int64_t answers_ = 0;               // of the inputs: the first ones
  std::vector<RowLogits> heads_;      // of rows whose tokens are drawn
  /// Tokens that nobody has got yet: waking who waits for them takes time in which a device works.
  std::vector<std::pair<EngineTask*, GenerationPiece>> made_;
  StepPace pace_;
  std::thread thread_;
};

}  // namespace octet

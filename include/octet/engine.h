#pragma once
#include <octet/export.h>
#include <octet/generate.h>

#include <cstdint>
#include <string>
#include <vector>

namespace OCTET_EXPORT octet {

struct EngineOptions {
  /// Positions of a request: prompt and answer. 0: the model's own limit, at most 4096.
  int64_t context = 0;
  /// Memory for keys and values of all requests together, and of prefixes kept for later ones. It
  /// is reserved at once (on a CPU it is used when it is first written). 0: eight contexts.
  int64_t kv_bytes = 0;
  int64_t max_running = 32;  ///< requests evaluated at a time; the others wait
  int64_t max_waiting = 256;
  /// Beside running answers, a prompt is spread over steps of about this time, as evenly as they
  /// allow: less starts requests sooner, more disturbs those that run less. A step evaluates at
  /// least 8 rows of prompts (128 on CUDA), so that short ones take a few steps, and at most
  /// prompt_rows.
  double prompt_seconds = 10;
  int64_t prompt_rows = 0;  ///< 0: 96 on a CPU, 512 on CUDA
  /// Even times between an answer's tokens before speed: after prompts, and in faster phases of the
  /// machine, tokens are held back as if steps took as long as before; they get faster in a minute.
  bool steady = false;
  /// Keep the keys and values of requests that ended for those that begin alike, until the memory
  /// is needed (the least recently used go first).
  bool reuse_prefixes = true;
};

/// One generation to be done by an Engine.
struct EngineRequest {
  std::vector<int32_t> prompt;  ///< encode_chat(), or Tokenizer::encode(); at least one id
  GenerateOptions options;
  /// Who asks. Waiting requests of equal priority start such that each client gets its share of
  /// tokens, however many requests it has waiting.
  std::string client;
  int priority = 0;             ///< higher starts sooner; running requests are not interrupted
  double deadline_seconds = 0;  ///< ends the request (StopReason::deadline) so long after submit()
};

struct GenerationImpl;
void retain(GenerationImpl*) noexcept;
void release(GenerationImpl*) noexcept;

/// A request's answer as it is made: a stream to pull from, in any thread, one at a time. Pieces
/// wait until they are pulled. Destroying the last copy cancels the request.
class Generation {
 public:
  /// Waits for the next piece, one a token and perhaps one more; false at the end. Errors: what
  /// ended the request, other than the reasons of StopReason (InvalidFile from damaged weights;
  /// Device).
  bool next(GenerationPiece& piece);

  enum class Poll { piece, end, timeout };
  /// The same, for at most this long.
  Poll poll(GenerationPiece& piece, double seconds);

  /// Waits for the end and returns the answer's text that was not pulled yet, without reasoning.
  std::string text();

  /// Takes effect within a step; pieces made so far can still be pulled. From any thread.
  void cancel() noexcept;
  /// Complete after the end.
  GenerateStats stats() const;

  explicit Generation(Handle<GenerationImpl> impl) : impl_(std::move(impl)) {}

 private:
  Handle<GenerationImpl> impl_;
};

/// Counts of values in buckets, in the form that Prometheus takes.
struct Histogram {
  std::vector<double> bounds;   ///< upper ones, rising; the last bucket has none
  std::vector<uint64_t> count;  ///< [bounds + 1], of each bucket by itself
  double sum = 0;
  uint64_t total = 0;
};

struct EngineStats {
  int64_t waiting = 0;
  int64_t running = 0;
  int64_t pages_total = 0;   ///< blocks of 64 positions
  int64_t pages_used = 0;    ///< held by running requests; a shared one counts once
  int64_t pages_cached = 0;  ///< kept for later requests, free to be taken
  uint64_t submitted = 0;
  uint64_t refused = 0;  ///< Busy
  uint64_t finished = 0;
  uint64_t cancelled = 0;         ///< of these
  uint64_t deadlines_missed = 0;  ///< of these
  uint64_t failed = 0;            ///< of these
  uint64_t prompt_tokens = 0;     ///< evaluated
  uint64_t cached_tokens = 0;     ///< of prompts, found in the cache
  uint64_t generated_tokens = 0;
  uint64_t steps = 0;
  Histogram batch;  ///< rows of a step
  Histogram waiting_seconds;
  Histogram first_token_seconds;  ///< since submit()
  Histogram inter_token_seconds;  ///< between a request's tokens
};

struct EngineImpl;
void retain(EngineImpl*) noexcept;
void release(EngineImpl*) noexcept;

/// Continuous batching over one model, on any device: requests join and leave at every step.
/// Prompts are evaluated in chunks beside running answers; what a prompt shares with an earlier one
/// is not evaluated again. For the int8 schemes on a CPU an answer is the same, bit for bit, as
/// that of the request alone, whatever else runs. The steps run in a thread of the engine's own and
/// take turns with sessions of the same model. Every function may be called from any thread.
class Engine {
 public:
  /// Errors: InvalidArgument naming the option; OutOfMemory naming what the pages need and what
  /// there is.
  explicit Engine(const Model& model, const EngineOptions& options = {});
  /// Cancels what runs and waits, and joins the thread.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Queues a request. If the queue is full, waits up to wait_seconds for a place.
  /// Errors: Busy if there is none then, or after drain(); InvalidArgument for a prompt that is
  /// empty, too long for the context (both numbers) or has ids outside the vocabulary, and for
  /// options out of range; OutOfMemory (both numbers) if it could not fit with nothing else there.
  Generation submit(EngineRequest request, double wait_seconds = 0);

  /// Takes no more requests, and waits up to `seconds` for those that are there.
  /// True if all have ended.
  bool drain(double seconds);

  EngineStats stats() const;
  const Model& model() const;
  int64_t context() const;

 private:
  Handle<EngineImpl> impl_;
};

}  // namespace octet

// The engine, from its callers' side.
#include <octet/engine.h>

#include <algorithm>

#include "lib/core/error.h"
#include "lib/generate/engine_impl.h"
#include "lib/generate/session_impl.h"

namespace octet {
namespace {

constexpr int64_t max_context_count = 8;  // contexts that the default memory holds

void check_range(const char* name, int64_t value, int64_t least, int64_t most) {
  require(value >= least && value <= most, ErrorCode::InvalidArgument, "engine option ", name,
          " is ", value, ", ", least, " to ", most, " expected");
}

EngineOptions with_defaults(const Model& model, EngineOptions options) {
  constexpr int64_t most = int64_t{1} << 20;
  check_range("max_running", options.max_running, 1, 4096);
  check_range("max_waiting", options.max_waiting, 1, most);
  check_range("prompt_rows", options.prompt_rows, 0, most);
  check_range("kv_bytes", options.kv_bytes, 0, INT64_MAX);
  options.context = context_of(model, options.context);
  // A row is left for prompts, however many answers there are.
  const int64_t rows = model.impl()->max_rows;
  options.max_running = std::clamp<int64_t>(options.max_running, 1, std::max<int64_t>(1, rows - 1));
  const bool cpu = std::string_view(model.device()) == "cpu";
  if (options.prompt_rows == 0) options.prompt_rows = cpu ? 96 : 512;
  require(options.prompt_seconds >= 0, ErrorCode::InvalidArgument,
          "engine option prompt_seconds is ", options.prompt_seconds, ", 0 or more expected");
  return options;
}

/// A GPU takes about as long for a hundred rows as for one.
StepPace::Limits pace_limits(const Model& model, const EngineOptions& options) {
  const bool cpu = std::string_view(model.device()) == "cpu";
  const int64_t least = std::min<int64_t>(cpu ? 8 : 128, options.prompt_rows);
  return {.prompt_seconds = options.prompt_seconds,
          .least_rows = least,
          .most_rows = options.prompt_rows,
          .steady = options.steady};
}

int64_t blocks_for(const Model& model, const EngineOptions& options) {
  const int64_t block = model.impl()->kv_pool->layout().block_bytes;
  if (options.kv_bytes == 0) return max_context_count * kv_blocks(options.context);
  require(options.kv_bytes >= block, ErrorCode::InvalidArgument, "engine option kv_bytes is ",
          options.kv_bytes, ", a block of 64 positions takes ", block);
  const int64_t blocks = options.kv_bytes / block;
  require(blocks < INT32_MAX, ErrorCode::InvalidArgument, "engine option kv_bytes is ",
          options.kv_bytes, ", at most ", block * int64_t{INT32_MAX - 1}, " expected");
  return blocks;
}

Histogram make_histogram(std::vector<double> bounds) {
  Histogram histogram;
  histogram.count.resize(bounds.size() + 1);
  histogram.bounds = std::move(bounds);
  return histogram;
}

EngineStats empty_stats() {
  const std::vector<double> seconds = {0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05,
                                       0.06,  0.08,  0.1,   0.15, 0.2,  0.3,  0.5,  1,
                                       2,     5,     10,    20,   50,   100};
  EngineStats stats;
  stats.batch = make_histogram({1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096});
  stats.waiting_seconds = make_histogram(seconds);
  stats.first_token_seconds = make_histogram(seconds);
  stats.inter_token_seconds = make_histogram(seconds);
  return stats;
}

}  // namespace

void retain(EngineImpl* impl) noexcept {
  retain_counted(impl);
}
void release(EngineImpl* impl) noexcept {
  release_counted(impl);
}

EngineImpl::EngineImpl(const Model& owner, const EngineOptions& wanted)
    : model(owner),
      options(with_defaults(owner, wanted)),
      total_blocks_(blocks_for(owner, options)),
      rope_(make_rope(owner.config(), options.context)),
      reservation_(*owner.impl()->kv_pool, total_blocks_),
      prefixes_(*owner.impl()->kv_pool, total_blocks_),
      stats_(empty_stats()),
      pace_(pace_limits(owner, options)),
      thread_([this] { loop(); }) {}

EngineImpl::~EngineImpl() {
  stop();
}

/// Cancels everything and ends the thread.
void EngineImpl::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const std::vector<Task>* tasks : {&waiting_, &running_})
      for (const Task& task : *tasks) task->cancelled = true;
    work_.notify_all();
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void EngineImpl::check(const EngineRequest& request, int64_t positions) const {
  const auto size = static_cast<int64_t>(request.prompt.size());
  require(size > 0, ErrorCode::InvalidArgument, "the prompt is empty");
  require(size < options.context, ErrorCode::InvalidArgument, "the prompt has ", size,
          " tokens, the context holds ", options.context, " and one more is needed for an answer");
  for (int32_t id : request.prompt)
    require(id >= 0 && id < model.config().vocab_size, ErrorCode::InvalidArgument, "token id ", id,
            " is outside the vocabulary of ", model.config().vocab_size);
  require(request.deadline_seconds >= 0, ErrorCode::InvalidArgument, "deadline_seconds is ",
          request.deadline_seconds, ", 0 (none) or more expected");
  const int64_t block = model.impl()->kv_pool->layout().block_bytes;
  require(kv_blocks(positions) <= total_blocks_, ErrorCode::OutOfMemory, "a request of ", positions,
          " positions needs ", kv_blocks(positions) * block, " bytes of KV cache, the engine has ",
          total_blocks_ * block);
}

/// Under the mutex. A client that comes back is served as the others that are here, whatever it had
/// before: neither has it saved up, nor does it pay.
void EngineImpl::enter(const Task& task) {
  const auto [client, fresh] = clients_.try_emplace(task->request.client);
  if (fresh) {
    double least = -1;
    for (const auto& [name, other] : clients_)
      if (other.requests > 0 && (least < 0 || other.served < least)) least = other.served;
    client->second.served = std::max(least, 0.0);
  }
  ++client->second.requests;
  waiting_.push_back(task);
  ++stats_.submitted;
}

/// Under the mutex.
void EngineImpl::leave(const Task& task) {
  const auto client = clients_.find(task->request.client);
  if (--client->second.requests == 0) clients_.erase(client);
  ++stats_.finished;
  stats_.cancelled += task->answer.stats.stop == StopReason::cancelled;
  stats_.deadlines_missed += task->answer.stats.stop == StopReason::deadline;
  stats_.failed += task->error != nullptr;
  task->out.end(task->answer.stats, task->error);
  changed_.notify_all();
}

Generation EngineImpl::submit(EngineRequest&& request, double wait_seconds) {
  const Clock::time_point now = Clock::now();
  const auto size = static_cast<int64_t>(request.prompt.size());
  const int64_t room = options.context - size;
  const int64_t positions = size + std::clamp<int64_t>(request.options.max_tokens, 0, room);
  check(request, positions);
  const double seconds = std::min(request.deadline_seconds, 1e8);
  Task task(new EngineTask(model, std::move(request)));
  task->submitted = now;
  task->positions = positions;
  const auto after = [&](double wait) {
    return now + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(wait));
  };
  if (seconds > 0) task->deadline = after(seconds);

  std::unique_lock lock(mutex_);
  const auto open = [&] {
    return draining_ || stopping_ || std::ssize(waiting_) < options.max_waiting;
  };
  changed_.wait_until(lock, after(std::clamp(wait_seconds, 0.0, 1e8)), open);
  const bool closed = draining_ || stopping_, full = !open();
  if (closed || full) ++stats_.refused;
  require(!closed, ErrorCode::Busy, "the engine takes no more requests");
  require(!full, ErrorCode::Busy, waiting_.size(), " requests wait, at most ", options.max_waiting,
          " may");
  task->number = ++last_number_;
  enter(task);
  work_.notify_all();
  return Generation(Handle<GenerationImpl>(new GenerationImpl(std::move(task))));
}

bool EngineImpl::drain(double seconds) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  changed_.notify_all();
  const auto wait = std::chrono::duration<double>(std::clamp(seconds, 0.0, 1e8));
  return changed_.wait_for(lock, wait, [&] { return waiting_.empty() && running_.empty(); });
}

EngineStats EngineImpl::stats() const {
  std::lock_guard lock(mutex_);
  EngineStats copy = stats_;
  copy.waiting = std::ssize(waiting_);
  copy.running = std::ssize(running_);
  copy.pages_total = total_blocks_;
  return copy;
}

Engine::Engine(const Model& model, const EngineOptions& options)
    : impl_(new EngineImpl(model, options)) {}
Engine::~Engine() {
  impl_->stop();
}

Generation Engine::submit(EngineRequest request, double wait_seconds) {
  return impl_->submit(std::move(request), wait_seconds);
}
bool Engine::drain(double seconds) {
  return impl_->drain(seconds);
}
EngineStats Engine::stats() const {
  return impl_->stats();
}
const Model& Engine::model() const {
  return impl_->model;
}
int64_t Engine::context() const {
  return impl_->options.context;
}

}  // namespace octet

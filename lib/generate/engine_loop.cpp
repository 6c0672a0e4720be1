// The engine's thread: which requests run, what each step evaluates, who gets which memory.
#include <algorithm>
#include <cmath>

#include "kernels/types.h"
#include "lib/core/error.h"
#include "lib/generate/engine_impl.h"

namespace octet {
namespace {

using kernels::kv_block;

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

void add(Histogram& histogram, double value) {
  const auto bucket = std::lower_bound(histogram.bounds.begin(), histogram.bounds.end(), value) -
                      histogram.bounds.begin();
  ++histogram.count[static_cast<size_t>(bucket)];
  histogram.sum += value;
  ++histogram.total;
}

/// Whether the task ends before its next token, and why.
StopReason outside_end(const EngineTask& task, Clock::time_point now) {
  if (task.is_cancelled()) return StopReason::cancelled;
  return now >= task.deadline ? StopReason::deadline : StopReason::none;
}

bool reads_prompt(const EngineTask& task) {
  return task.sequence->size() < task.prompt_size();
}

}  // namespace

void EngineImpl::loop() {
  while (collect()) {
    drop_ended_running();
    plan();
    if (inputs_.empty()) continue;
    make_room();
    run();
  }
}

/// Waits for something to do, and starts what can be started. False at the engine's end.
bool EngineImpl::collect() {
  std::unique_lock lock(mutex_);
  if (running_.empty()) pace_.idle();
  work_.wait(lock, [&] { return stopping_ || !waiting_.empty() || !running_.empty(); });
  drop_ended_waiting(Clock::now());
  admit();
  return !stopping_ || !running_.empty() || !waiting_.empty();
}

void EngineImpl::drop_ended_waiting(Clock::time_point now) {
  std::erase_if(waiting_, [&](const Task& task) {
    task->answer.end(outside_end(*task, now));
    if (task->answer.ended()) leave(task);
    return task->answer.ended();
  });
}

/// Starts waiting requests: of the highest priority, the one whose client was served least, the
/// oldest of that client's. One that does not fit holds up the others, or it might wait for ever.
void EngineImpl::admit() {
  const auto before = [&](const Task& a, const Task& b) {
    if (a->request.priority != b->request.priority)
      return a->request.priority > b->request.priority;
    const double served_a = clients_.at(a->request.client).served;
    const double served_b = clients_.at(b->request.client).served;
    return served_a != served_b ? served_a < served_b : a->number < b->number;
  };
  while (!waiting_.empty() && std::ssize(running_) < options.max_running) {
    const auto next = std::min_element(waiting_.begin(), waiting_.end(), before);
    EngineTask& task = **next;
    if (!fits(task)) return;
    task.sequence = std::make_unique<Sequence>(*model.impl()->kv_pool, rope_, task.positions);
    take_prefix(task);
    // Paid in advance, so that a client's next one waits for the others' first.
    clients_.at(task.request.client).served +=
        static_cast<double>(task.prompt_size() - task.sequence->size());
    task.started = Clock::now();
    add(stats_.waiting_seconds, seconds_between(task.submitted, task.started));
    const auto place = std::find_if(running_.begin(), running_.end(), [&](const Task& other) {
      return other->request.priority < task.request.priority;
    });
    running_.insert(place, *next);
    waiting_.erase(next);
    changed_.notify_all();
  }
}

int64_t EngineImpl::private_blocks() const {
  int64_t blocks = 0;
  for (const Task& task : running_)
    blocks += std::ssize(task->sequence->cache.blocks()) - std::ssize(task->entries);
  return blocks;
}

/// Whether the blocks that the task may need at most can be had for certain. Of those that it finds
/// in the index, the ones in use by others cost nothing.
bool EngineImpl::fits(const EngineTask& task) {
  int64_t promised = prefixes_.used() + private_blocks() + kv_blocks(task.positions);
  for (const Task& other : running_)
    promised += kv_blocks(other->positions) - std::ssize(other->sequence->cache.blocks());
  int32_t entry = PrefixIndex::none;
  const std::span<const int32_t> prompt = task.request.prompt;
  for (size_t at = 0; at + kv_block < prompt.size(); at += kv_block) {
    entry = prefixes_.find(entry, prompt.subspan(at, kv_block));
    if (entry == PrefixIndex::none) break;
    if (!prefixes_.idle(entry)) --promised;
  }
  return promised <= total_blocks_;
}

/// The entry that holds the prompt's next block, if a whole one is missing; the prompt's last id is
/// always evaluated, for its logits.
int32_t EngineImpl::next_prefix_entry(const EngineTask& task) const {
  const int64_t done = task.sequence->size();
  if (done % kv_block != 0 || done + kv_block >= task.prompt_size() ||
      std::ssize(task.entries) != done / kv_block)
    return PrefixIndex::none;
  const int32_t parent = task.entries.empty() ? PrefixIndex::none : task.entries.back();
  return prefixes_.find(
      parent, std::span(task.request.prompt).subspan(static_cast<size_t>(done), size_t{kv_block}));
}

/// Moves past what is cached already. Called before each chunk, so that of two prompts that begin
/// alike and run together, the second follows the first.
void EngineImpl::take_prefix(EngineTask& task) {
  for (int32_t entry; (entry = next_prefix_entry(task)) != PrefixIndex::none;) {
    prefixes_.use(entry);
    task.entries.push_back(entry);
    task.sequence->cache.append_shared(prefixes_.block(entry));
    const auto begin = task.request.prompt.begin() + task.sequence->size();
    task.sequence->tokens.insert(task.sequence->tokens.end(), begin, begin + kv_block);
    task.answer.stats.cached_tokens += kv_block;
  }
}

/// Whether this step already evaluates the prompt's next block, for another request: waiting for it
/// costs less than a second evaluation.
bool EngineImpl::follows_another(const EngineTask& task) const {
  const std::vector<int32_t>& prompt = task.request.prompt;
  const int64_t done = task.sequence->size(), needed = done + kv_block;
  if (done % kv_block != 0 || needed >= task.prompt_size()) return false;
  for (size_t i = 0; i < planned_.size(); ++i) {
    const EngineTask& other = *planned_[i];
    const int64_t reaches = other.sequence->size() + std::ssize(inputs_[i].ids);
    if (reads_prompt(other) && other.sequence->size() < needed && reaches > done &&
        other.prompt_size() >= needed &&
        std::equal(prompt.begin(), prompt.begin() + needed, other.request.prompt.begin()))
      return true;
  }
  return false;
}

void EngineImpl::drop_ended_running() {
  const Clock::time_point now = Clock::now();
  for (size_t i = running_.size(); i-- > 0;) {
    EngineTask& task = *running_[i];
    task.answer.end(outside_end(task, now));
    if (!task.answer.ended() && !task.error) continue;
    hand_out();
    finish(i);
  }
}

/// Rows of prompts in a step beside answers.
int64_t EngineImpl::prompt_rows() {
  int64_t missing = 0;
  Clock::time_point newest;
  for (const Task& task : running_) {
    if (!reads_prompt(*task)) continue;
    missing += task->prompt_size() - task->sequence->size();
    newest = std::max(newest, task->started);
  }
  return pace_.rows(missing, seconds_between(newest, Clock::now()));
}

/// The next step: a row for each answer, and beside them a limited number of rows of prompts, those
/// of higher priority and older ones first.
void EngineImpl::plan() {
  inputs_.clear();
  planned_.clear();
  for (const Task& task : running_) {
    if (reads_prompt(*task)) continue;
    inputs_.push_back({task->sequence.get(), std::span(&task->pending, 1), Session::Rows::last,
                       task->answer.wanted()});
    planned_.push_back(&*task);
  }
  const int64_t rows = model.impl()->max_rows - std::ssize(inputs_);
  answers_ = std::ssize(inputs_);
  int64_t left = answers_ == 0 ? rows : std::min(prompt_rows(), rows);
  for (const Task& task : running_) {
    if (left == 0 || !reads_prompt(*task)) continue;
    take_prefix(*task);
    if (follows_another(*task)) continue;
    const int64_t done = task->sequence->size(), missing = task->prompt_size() - done;
    const int64_t count = std::min(missing, left);
    left -= count;
    task->answer.stats.prompt_tokens += count;
    inputs_.push_back({task->sequence.get(),
                       std::span(task->request.prompt)
                           .subspan(static_cast<size_t>(done), static_cast<size_t>(count)),
                       count == missing ? Session::Rows::last : Session::Rows::none,
                       task->answer.wanted()});
    planned_.push_back(&*task);
  }
}

/// Idle blocks make room for those that the step will take.
void EngineImpl::make_room() {
  int64_t missing = prefixes_.used() + prefixes_.idle() + private_blocks() - total_blocks_;
  for (const SequenceInput& input : inputs_)
    missing += kv_blocks(input.sequence->size() + std::ssize(input.ids)) -
               std::ssize(input.sequence->cache.blocks());
  for (; missing > 0; --missing) prefixes_.evict();
}

void EngineImpl::run() {
  for (EngineTask* task : planned_) task->made.reset();
  const Clock::time_point begin = Clock::now();
  const auto of_step_before = [this] { hand_out(); };
  const FunctionRef<void()> meanwhile(of_step_before);
  const StepOptions step{inputs_.size() == 1 ? &planned_[0]->cancelled : nullptr, &meanwhile};
  int64_t rows = 0;
  for (const SequenceInput& input : inputs_) rows += std::ssize(input.ids);
  try {
    run_step(*model.impl(), inputs_, step,
             [&](std::span<const StepRow> some) { make_tokens(some); });
  } catch (...) {
    hand_out();
    for (size_t input = 0; input < inputs_.size(); ++input) run_alone(input);
  }
  for (EngineTask* task : planned_) keep_prefix(*task);
  const double seconds = seconds_between(begin, Clock::now());
  const double wait = pace_.after(answers_, rows - answers_, seconds);
  for (EngineTask* task : planned_)
    if (task->made) made_.emplace_back(task, std::move(*task->made));
  std::unique_lock lock(mutex_);
  if (wait > 0)
    work_.wait_for(lock, std::chrono::duration<double>(wait), [&] { return stopping_; });
  ++stats_.steps;
  add(stats_.batch, static_cast<double>(rows));
  stats_.pages_used = prefixes_.used() + private_blocks();
  stats_.pages_cached = prefixes_.idle();
  lock.unlock();
  // Who asked for even times gets them now.
  if (std::string_view(model.device()) == "cpu" || options.steady) hand_out();
}

/// Gives the tokens to whoever waits for them.
void EngineImpl::hand_out() {
  if (made_.empty()) return;
  std::lock_guard lock(mutex_);
  for (auto& [task, piece] : made_) deliver(*task, std::move(piece));
  made_.clear();
}

/// One input of a step that failed, to find out whose fault it was; the others go on.
void EngineImpl::run_alone(size_t input) {
  EngineTask& task = *planned_[input];
  try {
    run_step(*model.impl(), std::span(inputs_).subspan(input, 1), {&task.cancelled},
             [&](std::span<const StepRow> rows) {
               if (!task.made) make_token(input, sufficient(rows[0]));
             });
  } catch (const Error& error) {
    if (error.code() == ErrorCode::Cancelled) return;  // ends before the next step
    task.error = std::current_exception();
  } catch (...) {
    task.error = std::current_exception();
  }
}

/// The next token of each row's task. Drawing from all logits takes longer than a core should have
/// to wait; from the best it takes less than waking another.
void EngineImpl::make_tokens(std::span<const StepRow> rows) {
  heads_.clear();
  for (const StepRow& row : rows) heads_.push_back(sufficient(row));
  const auto make = [&](int64_t i, int) {
    make_token(rows[static_cast<size_t>(i)].input, heads_[static_cast<size_t>(i)]);
  };
  const bool of_best = std::all_of(heads_.begin(), heads_.end(),
                                   [](const RowLogits& head) { return head.logits.empty(); });
  if (of_best)
    for (int64_t i = 0; i < std::ssize(rows); ++i) make(i, 0);
  else
    model.impl()->pool->for_each(std::ssize(rows), make);
}

/// What the row's token is drawn from.
RowLogits EngineImpl::sufficient(const StepRow& row) {
  EngineTask& task = *planned_[row.input];
  try {
    return task.answer.sufficient(row.head);
  } catch (...) {
    task.error = std::current_exception();
    return {};
  }
}

/// The task's next token.
void EngineImpl::make_token(size_t input, const RowLogits& row) {
  EngineTask& task = *planned_[input];
  if (task.error) return;
  try {
    const int64_t length = task.sequence->size() + std::ssize(inputs_[input].ids);
    task.made = task.answer.next(row, options.context - length);
    task.pending = task.made->token.id;
  } catch (...) {
    task.error = std::current_exception();
  }
}

/// Under the mutex.
void EngineImpl::deliver(EngineTask& task, GenerationPiece&& piece) {
  const Clock::time_point now = Clock::now();
  GenerateStats& stats = task.answer.stats;
  if (stats.generated_tokens == 1) {
    stats.first_token_seconds = stats.prefill_seconds = seconds_between(task.submitted, now);
    add(stats_.first_token_seconds, stats.first_token_seconds);
  } else {
    const double seconds = seconds_between(task.last_token, now);
    stats.decode_seconds += seconds;
    add(stats_.inter_token_seconds, seconds);
    clients_.at(task.request.client).served += 1;
  }
  ++stats_.generated_tokens;
  task.last_token = now;
  task.out.push(std::move(piece));
}

/// Puts the blocks that are full now into the index.
void EngineImpl::keep_prefix(EngineTask& task) {
  Sequence& sequence = *task.sequence;
  while ((std::ssize(task.entries) + 1) * kv_block <= sequence.size()) {
    const int64_t index = std::ssize(task.entries);
    const std::span<const int32_t> ids =
        std::span(sequence.tokens).subspan(static_cast<size_t>(index * kv_block), size_t{kv_block});
    const int32_t parent = index == 0 ? PrefixIndex::none : task.entries.back();
    int32_t entry = prefixes_.find(parent, ids);
    if (entry == PrefixIndex::none) {
      entry = prefixes_.insert(parent, ids, sequence.cache.blocks()[static_cast<size_t>(index)]);
    } else {
      // Another request has evaluated the same ids meanwhile.
      prefixes_.use(entry);
      sequence.cache.replace_shared(index, prefixes_.block(entry));
    }
    task.entries.push_back(entry);
  }
}

/// Takes a task out of running_ and gives its memory back.
void EngineImpl::finish(size_t index) {
  const Task task = running_[index];
  if (!task->error) task->out.push(task->answer.finish());
  task->sequence.reset();
  // The last block first: of a prefix, the end is the first to go.
  for (; !task->entries.empty(); task->entries.pop_back()) prefixes_.unuse(task->entries.back());
  if (!options.reuse_prefixes)
    while (prefixes_.idle() > 0) prefixes_.evict();
  std::lock_guard lock(mutex_);
  running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(index));
  stats_.prompt_tokens += static_cast<uint64_t>(task->answer.stats.prompt_tokens);
  stats_.cached_tokens += static_cast<uint64_t>(task->answer.stats.cached_tokens);
  stats_.pages_used = prefixes_.used() + private_blocks();
  stats_.pages_cached = prefixes_.idle();
  leave(task);
}

}  // namespace octet

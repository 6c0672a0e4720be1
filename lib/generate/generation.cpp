// The reader's side of a request.
#include "lib/generate/engine_task.h"

namespace octet {

void PieceQueue::push(GenerationPiece&& piece) {
  std::lock_guard lock(mutex_);
  pieces_.push_back(std::move(piece));
  changed_.notify_one();
}

void PieceQueue::end(const GenerateStats& stats, std::exception_ptr error) {
  std::lock_guard lock(mutex_);
  stats_ = stats;
  error_ = std::move(error);
  ended_ = true;
  changed_.notify_all();
}

Generation::Poll PieceQueue::pull(GenerationPiece& piece, Clock::time_point until) {
  std::unique_lock lock(mutex_);
  const auto ready = [&] { return !pieces_.empty() || ended_; };
  // A wait until the end of time overflows in some libraries.
  if (until == Clock::time_point::max())
    changed_.wait(lock, ready);
  else if (!changed_.wait_until(lock, until, ready))
    return Generation::Poll::timeout;
  if (pieces_.empty()) {
    if (error_) std::rethrow_exception(error_);
    return Generation::Poll::end;
  }
  piece = std::move(pieces_.front());
  pieces_.pop_front();
  return Generation::Poll::piece;
}

GenerateStats PieceQueue::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

void retain(GenerationImpl* impl) noexcept {
  retain_counted(impl);
}
void release(GenerationImpl* impl) noexcept {
  release_counted(impl);
}

bool Generation::next(GenerationPiece& piece) {
  return impl_->task->out.pull(piece, Clock::time_point::max()) == Poll::piece;
}

Generation::Poll Generation::poll(GenerationPiece& piece, double seconds) {
  const auto wait = std::chrono::duration<double>(std::min(std::max(seconds, 0.0), 1e8));
  return impl_->task->out.pull(piece,
                               Clock::now() + std::chrono::duration_cast<Clock::duration>(wait));
}

std::string Generation::text() {
  std::string text;
  for (GenerationPiece piece; next(piece);)
    if (!piece.reasoning) text += piece.text;
  return text;
}

void Generation::cancel() noexcept {
  impl_->task->cancelled = true;
}

GenerateStats Generation::stats() const {
  return impl_->task->out.stats();
}

}  // namespace octet

// A step's end: what the host gets of it, and the step that follows.
#include <algorithm>

#include "lib/backends/cuda/cuda_backend.h"
#include "lib/core/error.h"

namespace octet::cuda {
namespace {

/// Steps that follow the best ids before the next one is launched ahead. One in vain costs all of
/// its time (H200, one row: 0.55 ms), so it takes more than the few of a short answer.
constexpr int64_t few_in_a_row = 16;

/// StepResult::first_bad
int64_t bad_operation(int32_t first_bad) {
  return first_bad == kernels::cuda::none_bad ? -1 : first_bad;
}

}  // namespace

/// Whether the step is the one that the device holds already, and is under way now.
bool CudaBackend::follow(const Batch& batch) {
  const bool follows = followed_ && followed_->top == batch.top &&
                       followed_->writes == kv_memory_.writes() &&
                       step_.is_followed_by(batch, top_->results(step_.turn()).best);
  const bool ahead = std::exchange(ahead_, false);
  followed_.reset();
  in_a_row_ = follows ? in_a_row_ + 1 : 0;
  if (!follows || (ahead && !step_.has_tables_of(batch))) return false;
  const Graph* const graph = find_graph(step_.next_launched_splits());
  if (!graph) return false;
  step_.follow(batch, stream_.get());
  if (!ahead) launch(*graph, step_.turn());
  return true;
}

CudaBackend::GraphKey CudaBackend::graph_key(int64_t launched_splits) const {
  return {step_.rows(), step_.single_rows(), launched_splits, batch_->top,
          !batch_->temperatures.empty()};
}

const Graph* CudaBackend::find_graph(int64_t launched_splits) const {
  const auto graph = graphs_.find(graph_key(launched_splits));
  return graph == graphs_.end() ? nullptr : &graph->second;
}

void CudaBackend::launch(const Graph& graph, int turn) {
  graph.launch(stream_.get());
  done_[turn].record(stream_.get());
}

/// The step that will follow if each row continues with its best id. Not where more are wanted: of
/// those one is drawn, or all logits may be asked for.
void CudaBackend::launch_ahead() {
  if (batch_->top > 1 || in_a_row_ < few_in_a_row || !step_.has_room_behind(*batch_)) return;
  const Graph* graph = find_graph(step_.next_launched_splits());
  if (!graph) return;
  launch(*graph, step_.turn() ^ 1);
  ahead_ = true;
}

/// A bit an id.
void CudaBackend::leave_out(std::span<const int32_t> ids) {
  if (ids.empty()) return;
  const OnDevice device(index_);
  std::vector<uint32_t> bits(static_cast<size_t>(kernels::cuda::ceil_div(config_.vocab_size, 32)));
  for (const int32_t id : ids) bits[static_cast<size_t>(id / 32)] |= 1u << (id % 32);
  const size_t bytes = bits.size() * sizeof(uint32_t);
  left_out_ = DeviceMemory(static_cast<int64_t>(bytes), "the ids that are left out");
  check(cudaMemcpyAsync(left_out_.as<void>(), bits.data(), bytes, cudaMemcpyHostToDevice,
                        stream_.get()),
        "cudaMemcpy");
  check(cudaStreamSynchronize(stream_.get()), "cudaMemcpy");
}

void CudaBackend::select_best(int64_t first, int64_t logit_rows) {
  const StepView& step = step_.view();
  kernels::cuda::top({logit_rows,
                      config_.vocab_size,
                      logits_stride_,
                      workspace_.logits,
                      left_out_.as<uint32_t>(),
                      batch_->top,
                      step.temperatures ? step.temperatures + first : nullptr,
                      top_->partial(),
                      top_->partial_weights(),
                      {top_->results(0), top_->results(1)},
                      step.turns,
                      step.first_bad,
                      recording_ && step_.single_rows() ? step.rows : nullptr,
                      best_found_ ? top_->best() : nullptr},
                     queue_);
}

StepResult CudaBackend::finish(int64_t first, int64_t logit_rows) {
  const bool top = batch_->top > 0 && logit_rows > 0;
  if (top && !replaying_) select_best(first, logit_rows);
  check(cudaGetLastError(), "launching a step");
  const bool by_graph = replaying_ || recording_;
  if (recording_) {
    const GraphKey key = graph_key(step_.launched_splits());
    const auto graph = graphs_.emplace(key, recording_->end()).first;
    recording_.reset();
    launch(graph->second, step_.turn());
  }
  const bool followed = top && by_graph && step_.single_rows();
  if (followed) launch_ahead();
  if (batch_->meanwhile) (*batch_->meanwhile)();
  if (!top) return finish_all(logit_rows);
  if (!by_graph) {
    check(cudaStreamSynchronize(stream_.get()), "a step");
    return best_of_step();
  }
  check(done_[step_.turn()].wait(), "a step");
  const StepResult result = best_of_step();
  if (followed && result.first_bad < 0) followed_ = {batch_->top, kv_memory_.writes()};
  return result;
}

/// With all logits.
StepResult CudaBackend::finish_all(int64_t logit_rows) {
  const auto receive = [&](void* to, const void* from, int64_t bytes) {
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost,
                          stream_.get()),
          "reading a step's results");
  };
  auto* const logits = logits_.as<float>();
  int32_t* const first_bad = top_->results(0).first_bad;
  if (logit_rows > 0) receive(logits, workspace_.logits, logit_rows * logits_stride_ * 4);
  receive(first_bad, step_.view().first_bad, 4);
  check(cudaStreamSynchronize(stream_.get()), "a step");
  return {logits, nullptr, nullptr, logits_stride_, bad_operation(*first_bad)};
}

StepResult CudaBackend::best_of_step() const {
  static_assert(sizeof(kernels::cuda::Candidate) == sizeof(TopLogit) &&
                kernels::cuda::max_top == max_top_logits);
  const kernels::cuda::TopResults of_step = top_->results(step_.turn());
  return {nullptr, reinterpret_cast<const TopLogit*>(of_step.best), of_step.weights,
          kernels::cuda::max_top, bad_operation(*of_step.first_bad)};
}

std::span<float> CudaBackend::all_logits(int64_t row) {
  float* const logits = logits_.as<float>() + row * logits_stride_;
  check(cudaMemcpyAsync(logits, workspace_.logits + row * logits_stride_,
                        static_cast<size_t>(config_.vocab_size) * sizeof(float),
                        cudaMemcpyDeviceToHost, stream_.get()),
        "reading logits");
  check(cudaStreamSynchronize(stream_.get()), "reading logits");
  return {logits, static_cast<size_t>(config_.vocab_size)};
}

}  // namespace octet::cuda

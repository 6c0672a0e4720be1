#include "lib/backends/cuda/cuda_backend.h"

#include <algorithm>
#include <cmath>

#include "lib/core/cpu.h"
#include "lib/core/error.h"
#include "lib/model/linear_kinds.h"

namespace octet::cuda {
namespace {

using kernels::num_groups;
using kernels::padded_n;
using kernels::cuda::activation_stride;
using kernels::cuda::Output;
using kernels::cuda::tiled_bytes;
using kernels::cuda::tiled_stride;

/// Words for the partial results of split attention of so many rows.
int64_t split_words(const ModelConfig& config, int64_t rows, int64_t splits) {
  return rows * config.num_kv_heads * kernels::cuda::split_results(splits) *
         kernels::cuda::split_part_words;
}
/// As many as are kept: bounds the rows attended at a time (of 64 splits and two kv heads, to 42).
int64_t partial_words(const ModelConfig& config) {
  constexpr int64_t enough = 12 << 20;
  return std::max(enough, split_words(config, 1, kernels::cuda::max_splits));
}

int64_t head_group(const ModelConfig& config) {
  return config.num_heads / config.num_kv_heads;
}

void check_scheme(const Matrix& matrix, const char* name) {
  require(matrix.scheme != Scheme::f32, ErrorCode::Unsupported, "device cuda: the weights of ",
          name, " are f32; f16, w8a8 or w8a8-g128 expected");
}

void check_shape(const ModelConfig& config, const Weights& weights) {
  check_scheme(weights.embedding, "the embedding");
  check_scheme(weights.head, "the head");
  const auto multiple = [](int64_t value, int64_t of, const char* what) {
    require(value % of == 0, ErrorCode::Unsupported, "device cuda: ", what, " is ", value,
            ", a multiple of ", of, " expected");
  };
  multiple(config.hidden_size, 4, "hidden_size");
  multiple(config.intermediate_size, 4, "intermediate_size");
  multiple(config.head_dim, 8, "head_dim");
  require(config.head_dim <= kernels::cuda::max_head_dim, ErrorCode::Unsupported,
          "device cuda: head_dim is ", config.head_dim, ", at most ", kernels::cuda::max_head_dim,
          " expected");
  require(head_group(config) <= kernels::cuda::max_head_group, ErrorCode::Unsupported,
          "device cuda: ", head_group(config), " query heads share a kv head, at most ",
          kernels::cuda::max_head_group, " expected");
  const auto rotatable = [&](int64_t block, const char* what) {
    require(kernels::cuda::can_rotate(config.hidden_size, block), ErrorCode::Unsupported,
            "device cuda: ", what, ", ", config.hidden_size, " values, is rotated in blocks of ",
            block, "; at most ", kernels::cuda::max_row_k, " values in blocks of at most ",
            kernels::cuda::max_fused_hadamard, " expected");
  };
  rotatable(weights.head_rotation, "the head's input");
  for (const LayerWeights& layer : weights.layers) {
    rotatable(layer.norm_rotation, "the linears' input");
    require(layer.down_rotation <= kernels::cuda::max_hadamard, ErrorCode::Unsupported,
            "device cuda: down_proj's input is rotated in blocks of ", layer.down_rotation,
            ", at most ", kernels::cuda::max_hadamard, " expected");
    for (int kind = 0; kind < num_layer_kinds; ++kind)
      check_scheme(linear_of(layer, static_cast<LinearKind>(kind)).weight,
                   to_string(static_cast<LinearKind>(kind)));
  }
}

/// Of int8 that the input of any linear is.
int64_t most_planes(const Weights& weights) {
  int planes = weights.head.planes;
  for (const LayerWeights& layer : weights.layers)
    for (const Linear* linear :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down})
      planes = std::max(planes, linear->weight.planes);
  return planes;
}

std::string architecture_name(int index) {
  const int architecture = kernels::cuda::running_architecture();
  require(architecture > 0, ErrorCode::Device, "cuda:", index, ": ",
          explain(cudaErrorNoKernelImageForDevice));
  return str("sm_", architecture);
}

kernels::cuda::Queue make_queue(int index, cudaStream_t stream) {
  int multiprocessors = 0, shared_bytes = 0, clusters = 0;
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, index),
        "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, index),
        "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&clusters, cudaDevAttrClusterLaunch, index),
        "cudaDeviceGetAttribute");
  const int architecture = kernels::cuda::running_architecture();
  const bool dependent_launch = architecture >= 90;
  return {stream,
          multiprocessors,
          architecture,
          shared_bytes,
          dependent_launch,
          dependent_launch && clusters > 0,
          kernels::cuda::running_warpgroups()};
}

}  // namespace

std::byte* DeviceKvMemory::take(int64_t bytes, int64_t positions) {
  const OnDevice device(index_);
  void* memory = nullptr;
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  const cudaError_t status = cudaMalloc(&memory, static_cast<size_t>(bytes));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    fail(ErrorCode::OutOfMemory, "the KV cache of a context of ", positions, " tokens needs ",
         static_cast<double>(bytes) / 1e9, " GB, cuda:", index_, " has ",
         static_cast<double>(free) / 1e9, " GB free");
  }
  check(status, "cudaMalloc");
  // Weights of softmax that are 0 still meet what lies behind a sequence's end: no NaN there.
  check(cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), nullptr), "cudaMemset");
  check(cudaStreamSynchronize(nullptr), "cudaMemset");
  return static_cast<std::byte*>(memory);
}

void DeviceKvMemory::give_back(std::byte* memory, int64_t) noexcept {
  for (const Event& done : done_) done.wait();
  cudaFree(memory);
}

void DeviceKvMemory::copy(std::byte* to, const std::byte* from, int64_t bytes) {
  transfer(to, from, bytes, cudaMemcpyDeviceToDevice);
}
void DeviceKvMemory::read(std::byte* host, const std::byte* from, int64_t bytes) {
  transfer(host, from, bytes, cudaMemcpyDeviceToHost);
}
void DeviceKvMemory::write(std::byte* to, const std::byte* host, int64_t bytes) {
  transfer(to, host, bytes, cudaMemcpyHostToDevice);
}

/// Between steps, whose stream does not wait for this one.
void DeviceKvMemory::transfer(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind) {
  const OnDevice device(index_);
  if (kind != cudaMemcpyDeviceToHost) ++writes_;
  for (const Event& done : done_) check(done.wait(), "a step");
  check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, nullptr), "cudaMemcpy");
  check(cudaStreamSynchronize(nullptr), "cudaMemcpy");
}

CudaBackend::CudaBackend(int index, const ModelConfig& config, int64_t max_rows, bool exact,
                         const Weights& weights, Progress progress)
    : index_(index),
      name_(str("cuda:", index)),
      config_((check_shape(config, weights), config)),
      max_rows_(std::max(max_rows, logit_group)),
      exact_(exact),
      on_device_(index),
      kv_memory_(index, done_),
      architecture_(architecture_name(index)),
      queue_(make_queue(index, stream_.get())),
      step_(config, max_rows, exact, queue_) {
  weights_.emplace(config, weights, progress, queue_);
  allocate(max_rows);
  if (exact) allocate_exact();
}

CudaBackend::~CudaBackend() {
  cudaStreamSynchronize(stream_.get());
}

/// Of the inputs of linears.
int64_t CudaBackend::max_width() const {
  return std::max(
      {config_.hidden_size, config_.num_heads * config_.head_dim, config_.intermediate_size});
}

void CudaBackend::allocate(int64_t max_rows) {
  const int64_t q = config_.num_heads * config_.head_dim,
                kv = config_.num_kv_heads * config_.head_dim;
  hidden_stride_ = padded_n(config_.hidden_size);
  qkv_stride_ = padded_n(q) + 2 * padded_n(kv);
  attention_stride_ = padded_n(q);
  gated_stride_ = padded_n(config_.intermediate_size);
  logits_stride_ = padded_n(config_.vocab_size);
  const int64_t sizes[] = {max_rows * hidden_stride_,    max_rows * qkv_stride_,
                           max_rows * attention_stride_, max_rows * gated_stride_,
                           logit_group * logits_stride_, max_rows * config_.head_dim};
  int64_t total = 0;
  for (int64_t size : sizes) total += padded_n(size);
  floats_ = DeviceMemory(total * 4, "the buffers of a step");
  float** const targets[] = {&workspace_.hidden, &workspace_.q, &workspace_.attention, &gated_,
                             &workspace_.logits, &angles_};
  float* next = floats_.as<float>();
  for (size_t i = 0; i < std::size(targets); ++i) {
    *targets[i] = next;
    next += padded_n(sizes[i]);
  }
  workspace_.k = workspace_.q + padded_n(q);
  workspace_.v = workspace_.k + padded_n(kv);

  const int64_t width = max_width();
  const int64_t planes = most_planes(weights_->view()), rows = std::max(max_rows, logit_group);
  const int64_t quantized_bytes = planes * tiled_bytes(rows, width);  // each plane ends its tiles
  quantized_ = DeviceMemory(quantized_bytes, "the buffers of a step");
  // Products of warpgroups read whole tiles, though they use nothing behind the last row.
  check(cudaMemsetAsync(quantized_.as<void>(), 0, static_cast<size_t>(quantized_bytes),
                        stream_.get()),
        "cudaMemset");
  // Also for the queries of prefill attention over an int8 cache: its input is used up by then.
  scales_ = DeviceMemory(planes * rows * std::max(num_groups(width), config_.num_heads) * 4,
                         "the buffers of a step");
  if (weights_->any_f16()) allocate_halves();
  if (exact_ || weights_->gate_up_apart()) allocate_gate_up();
  peaks_ = DeviceMemory(peak_words() * int64_t{sizeof(uint32_t)}, "the buffers of a step");
  const auto zeros = [&](int64_t bytes) {
    DeviceMemory memory(bytes, "the buffers of a step");
    check(cudaMemsetAsync(memory.as<void>(), 0, static_cast<size_t>(bytes), stream_.get()),
          "cudaMemset");
    return memory;
  };
  row_peaks_ =
      zeros(queue_.multiprocessors * kernels::cuda::team_peak_words * int64_t{sizeof(uint32_t)});
  slice_sums_ = zeros(kernels::cuda::slice_sum_words(hidden_stride_ / 16, queue_.multiprocessors) *
                      int64_t{sizeof(uint64_t)});
  const int64_t partial = partial_words(config_), readers = 16;
  const int64_t partial_bytes =
      (partial + qkv_stride_ + attention_stride_ + hidden_stride_ + readers) *
      int64_t{sizeof(uint32_t)};
  partial_ = DeviceMemory(partial_bytes, "the buffers of a step");
  awaited_.qkv = partial_.as<float>() + partial;
  awaited_.attention = awaited_.qkv + qkv_stride_;
  awaited_.hidden = awaited_.attention + attention_stride_;
  awaited_.readers = reinterpret_cast<uint32_t*>(awaited_.hidden + hidden_stride_);
  check(
      cudaMemsetAsync(partial_.as<void>(), 0xff, static_cast<size_t>(partial_bytes), stream_.get()),
      "cudaMemset");
  logits_ = PinnedMemory(logit_group * logits_stride_ * 4);
  top_.emplace(stream_.get());
}

/// One input of a layer may have peaks.
int64_t CudaBackend::peak_words() const {
  return config_.num_layers * kernels::cuda::max_peak_rows * kernels::cuda::peak_places;
}

/// Whether multiplications of this step's rows may take peaks (kernels::cuda::takes_peaks()).
bool CudaBackend::wants_peaks() const {
  return queue_.clusters && step_.rows() <= kernels::cuda::max_peak_rows;
}

uint32_t* CudaBackend::next_peaks() {
  if (step_.rows() == 1) return row_peaks_.as<uint32_t>();
  return peaks_.as<uint32_t>() +
         used_peaks_++ * kernels::cuda::max_peak_rows * kernels::cuda::peak_places;
}

/// For any input at once: graphs know where they lie.
void CudaBackend::allocate_halves() {
  if (halves_.as<void>()) return;
  half_scales_ = DeviceMemory(max_rows_ * 4, "the buffers of a step");
  halves_ = DeviceMemory(2 * max_rows_ * kernels::cuda::half_stride(max_width()) * 2,
                         "the buffers of a step");
}

void CudaBackend::allocate_gate_up() {
  if (!gate_up_.as<void>())
    gate_up_ = DeviceMemory(max_rows_ * 2 * gated_stride_ * 4, "the buffers of a step");
}

kernels::cuda::HeadRows CudaBackend::head_rows() const {
  return {workspace_.q, workspace_.k, workspace_.v, qkv_stride_,
          angles_,      q_norm_,      k_norm_,      static_cast<float>(config_.rms_norm_eps)};
}

kernels::cuda::Heads CudaBackend::heads(int64_t layer) const {
  return {config_.num_heads, config_.num_kv_heads, config_.head_dim, layer};
}

void CudaBackend::start(const Batch& batch) {
  check(cudaSetDevice(index_), "cudaSetDevice");
  recording_.reset();
  batch_ = &batch;
  replaying_ = follow(batch);
  if (replaying_) return;
  check(cudaStreamSynchronize(stream_.get()), "the step before");
  quantizations_ = 0;
  used_peaks_ = 0;
  chain_.reset();
  step_.plan(batch, stream_.get());
  step_.send(stream_.get());
  const auto is_adapted = [](const Chunk& chunk) { return !chunk.adapters.empty(); };
  const bool recordable = step_.repeatable() && step_.rows() <= logit_group &&
                          !std::any_of(batch.chunks.begin(), batch.chunks.end(), is_adapted);
  if (!recordable) return;
  if (const Graph* graph = find_graph(step_.launched_splits())) {
    launch(*graph, step_.turn());
    replaying_ = true;
  } else {
    recording_.emplace(stream_.get());
  }
}

void CudaBackend::embed(const Matrix& table) {
  if (replaying_) return;
  const StepView& step = step_.view();
  const CudaMatrix& matrix = weights_->of(table);
  kernels::cuda::embed(
      {step_.rows(), matrix.k, matrix.grouped, matrix.data, matrix.scale, step.rows,
       workspace_.hidden, hidden_stride_, step.frequencies, angles_, config_.head_dim / 2,
       matrix.f16, peaks_.as<uint32_t>(), step_.rows() > 1 && wants_peaks() ? peak_words() : 0},
      queue_);
}

void CudaBackend::quantize_later(const float* values, int64_t stride, int64_t k, const float* norm,
                                 int64_t rotation, const int32_t* rows, int planes) {
  halves_ready_ = false;
  input_ =
      kernels::cuda::RowSource{values,
                               stride,
                               k,
                               norm,
                               static_cast<float>(config_.rms_norm_eps),
                               static_cast<int>(rotation),
                               static_cast<float>(1 / std::sqrt(static_cast<double>(rotation))),
                               rows,
                               planes,
                               {step_.view().first_bad, quantizations_++}};
}

bool CudaBackend::norm(const float* weight, const std::span<const int64_t>* rows, int64_t rotation,
                       const InputForms& forms) {
  if (replaying_) return true;
  const int32_t* row_list =
      rows ? step_.view().logit_rows + (rows->data() - batch_->logit_rows.data()) : nullptr;
  input_rows_ = rows ? static_cast<int64_t>(rows->size()) : step_.rows();
  find_adapted_rows(*batch_, rows, adapted_rows_);
  if (exact_)
    quantize_later(norm_exactly(weight, row_list), hidden_stride_, config_.hidden_size, nullptr,
                   rotation, nullptr, forms.planes);
  else
    quantize_later(workspace_.hidden, hidden_stride_, config_.hidden_size, weight, rotation,
                   row_list, forms.planes);
  return true;
}

/// Of the input that was put off.
void CudaBackend::multiply(const CudaMatrix& weight, float* out, int64_t out_stride,
                           Output output) {
  if (!weight.f16) return multiply_int8(weight, out, out_stride, output);
  launch_chain();
  multiply_f16(weight, out, out_stride, output);
}

void CudaBackend::multiply_f16(const CudaMatrix& weight, float* out, int64_t out_stride,
                               Output output) {
  kernels::cuda::linear_f16({input_rows_, weight.k, weight.n_tiles, weight.data, weight.bias,
                             half_rows(weight.k), out, out_stride, output, nullptr},
                            queue_);
}

/// The input that was put off, in two fp16 terms.
kernels::cuda::HalfRows CudaBackend::half_rows(int64_t k) {
  const int64_t stride = kernels::cuda::half_stride(k);
  const kernels::cuda::HalfRows x{halves_.as<uint16_t>(), half_scales_.as<float>(), stride,
                                  input_rows_ * stride};
  if (!halves_ready_) kernels::cuda::split_rows(*input_, x, input_rows_, queue_);
  halves_ready_ = true;
  return x;
}

void CudaBackend::multiply_int8(const CudaMatrix& weight, float* out, int64_t out_stride,
                                Output output) {
  kernels::cuda::RowSource source = *input_;
  // Others of the same input may take two planes where this one does not.
  source.planes = weight.rest_end_tile > 0 ? source.planes : 1;
  const int planes = source.planes;
  const bool decode = input_rows_ * planes <= kernels::cuda::max_decode_rows;
  const bool tiled = !decode && kernels::cuda::takes_tiled_rows(weight.k, planes, output, queue_);
  const kernels::cuda::QuantizedRows x{quantized_.as<int8_t>(), scales_.as<float>(),
                                       tiled ? tiled_stride(weight.k) : activation_stride(weight.k),
                                       tiled};
  kernels::cuda::Linear linear{input_rows_,
                               weight.k,
                               weight.n_tiles,
                               weight.grouped,
                               planes,
                               weight.data,
                               weight.scale,
                               weight.rest_scale,
                               weight.rest_first_tile,
                               weight.rest_end_tile,
                               weight.bias,
                               x,
                               out,
                               out_stride,
                               output};
  linear.slice_sums = slice_sums_.as<uint64_t>();
  // Attention's, which does not run at the same time. A slice has a part of the chunks.
  if (kernels::cuda::sliced_group_words(weight.n_tiles, kernels::cuda::num_chunks(weight.k)) <=
      partial_words(config_))
    linear.slice_groups = partial_.as<uint32_t>();
  if (link(linear, source)) return;
  // Where one id is wanted of one row, the head finds it.
  best_found_ = out == workspace_.logits && batch_->top == 1 &&
                kernels::cuda::gives_best(linear, source, queue_);
  if (best_found_) {
    linear.best = top_->best();
    linear.left_out = left_out_.as<uint32_t>();
  }
  if (const int64_t words = kernels::cuda::gives_peaks(linear, queue_);
      words > 0 && wants_peaks() && !gated_rotated_) {
    gated_peaks_ = linear.peaks = next_peaks();
    gated_peak_words_ = words;
  }
  const bool fused = kernels::cuda::can_fuse(input_rows_, weight.k) ||
                     kernels::cuda::takes_peaks(linear, source, queue_);
  if (!fused) kernels::cuda::quantize_rows(source, x, input_rows_, weight.grouped, queue_);
  if (decode)
    kernels::cuda::linear_decode(linear, fused ? &source : nullptr, queue_);
  else
    kernels::cuda::linear_prefill(linear, queue_);
}

int64_t CudaBackend::stride_of(const float* buffer) const {
  return buffer == workspace_.hidden   ? hidden_stride_
         : buffer == workspace_.logits ? logits_stride_
                                       : qkv_stride_;
}

void CudaBackend::linear(std::span<const LinearTask> tasks, kernels::Store store, const Matrix*) {
  if (replaying_) return;
  const CudaMatrix* before = nullptr;
  for (const LinearTask& task : tasks) {
    // Neighbours may be one matrix here (CudaWeights), and their outputs lie one after another.
    const CudaMatrix& matrix = weights_->of(*task.weight);
    if (&matrix != before)
      multiply(matrix, task.out, stride_of(task.out),
               store == kernels::Store::add ? Output::add : Output::assign);
    before = &matrix;
  }
  for (const LinearTask& task : tasks) adapt(*task.weight, task.out, stride_of(task.out), 1);
}

/// Where they are of two schemes, an adapter adds to them, or SiLU is to have the CPU's bits.
void CudaBackend::gate_up_apart(const LinearTask& gate, const LinearTask& up) {
  const CudaMatrix &gates = weights_->of(*gate.weight), &ups = weights_->of(*up.weight);
  const bool in_turns = &gates == &ups;
  const int64_t stride = 2 * gated_stride_, step = in_turns ? 2 : 1;
  float* const to_gate = gate_up_.as<float>();
  float* const to_up = to_gate + (in_turns ? 1 : gated_stride_);
  multiply(gates, to_gate, stride, Output::assign);
  if (!in_turns) multiply(ups, to_up, stride, Output::assign);
  adapt(*gate.weight, to_gate, stride, step);
  adapt(*up.weight, to_up, stride, step);
  kernels::cuda::silu_mul_rows({input_rows_, config_.intermediate_size, to_gate, to_up, stride,
                                step, gated_, gated_stride_, exact_},
                               queue_);
}

bool CudaBackend::gate_up(const LinearTask& gate, const LinearTask& up, int64_t rotation,
                          const InputForms& forms, const Matrix*) {
  if (replaying_) return true;
  gated_peaks_ = nullptr;
  gated_rotated_ = rotation > 1;
  if (!exact_ && &weights_->of(*gate.weight) == &weights_->of(*up.weight) &&
      !is_adapted(*gate.weight) && !is_adapted(*up.weight))
    multiply(weights_->of(*gate.weight), gated_, gated_stride_, Output::silu_mul);
  else
    gate_up_apart(gate, up);
  const int64_t k = config_.intermediate_size;
  const bool fused = kernels::cuda::can_rotate(k, rotation);
  if (!fused) kernels::cuda::hadamard({input_rows_, k, rotation, gated_, gated_stride_}, queue_);
  quantize_later(gated_, gated_stride_, k, nullptr, fused ? rotation : 1, nullptr, forms.planes);
  if (fused && gated_peaks_) {
    input_->peaks = gated_peaks_;
    input_->peak_words = gated_peak_words_;
  }
  return true;
}

/// attention() rotates the queries, and caches the rows that are alone in their sequence.
bool CudaBackend::rotate_and_cache(int64_t layer, const float* q_norm, const float* k_norm) {
  if (replaying_) return true;
  q_norm_ = q_norm;
  k_norm_ = k_norm;
  cache_check_ = {step_.view().first_bad, quantizations_++};
  if (step_.single_rows() && !exact_) return true;
  const kernels::cuda::CacheRows rows{step_.rows(), heads(layer), step_.view().rows, head_rows()};
  if (!int8_cache()) {
    kernels::cuda::cache_rows(rows, queue_);
    return true;
  }
  const bool prefill = step_.tiles() > 0 || exact_;
  kernels::cuda::cache_rows_s8({rows, cache_check_, prefill ? quantized_.as<int8_t>() : nullptr,
                                prefill ? scales_.as<float>() : nullptr},
                               queue_);
  return true;
}

/// A model's caches are of one type.
bool CudaBackend::int8_cache() const {
  return batch_->chunks[0].cache->type() == KvCacheType::int8;
}

void CudaBackend::attend_rows(kernels::cuda::SplitAttention task) {
  if (chain_) return attend_in_chain(task);
  // One split needs no partial results.
  const int64_t row_words = std::max<int64_t>(1, split_words(config_, 1, task.splits));
  const int64_t most = partial_words(config_) / row_words;
  // Without prompts. Where no kernel begins beside the one before, that saves a read before keys.
  const bool all_in_order = step_.tiles() == 0 && !queue_.dependent_launch;
  for (int64_t first = 0; first < step_.split_rows(); first += most) {
    task.rows = std::min(most, step_.split_rows() - first);
    task.row_list = all_in_order && first == 0 ? nullptr : step_.view().split_rows + first;
    kernels::cuda::attention_split(task, queue_);
  }
}

bool CudaBackend::attention(int64_t layer, const InputForms& forms) {
  if (replaying_) return true;
  const float scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim));
  const StepView& step = step_.view();
  if (exact_)
    attend_exactly(layer, scale);
  else if (step_.split_rows() > 0)
    attend_rows({0, nullptr, heads(layer), step.rows, head_rows(), scale, step_.launched_splits(),
                 partial_.as<uint32_t>(), workspace_.attention, attention_stride_, int8_cache(),
                 cache_check_});
  if (!exact_ && step_.tiles() > 0 && int8_cache())
    kernels::cuda::attention_prefill_s8(
        {step_.tiles(), step_.query_rows(), step.tiles, heads(layer), step.rows,
         quantized_.as<int8_t>(), scales_.as<float>(), scale, workspace_.attention,
         attention_stride_},
        queue_);
  else if (!exact_ && step_.tiles() > 0)
    kernels::cuda::attention_prefill(
        {step_.tiles(), step_.query_rows(), step.tiles, heads(layer), step.rows, head_rows(), scale,
         workspace_.attention, attention_stride_},
        queue_);
  input_rows_ = step_.rows();
  quantize_later(workspace_.attention, attention_stride_, config_.num_heads * config_.head_dim,
                 nullptr, 1, nullptr, forms.planes);
  return true;
}

/// On the host, by the CPU's kernel: embeddings are read once a prompt, not once a token.
void CudaBackend::read_hidden(const float* weight, float* out) {
  const int64_t k = config_.hidden_size;
  std::vector<float> norm(static_cast<size_t>(k));
  const auto receive = [&](float* to, const float* from) {
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(k) * sizeof(float), cudaMemcpyDeviceToHost,
                          stream_.get()),
          "reading hidden states");
  };
  receive(norm.data(), weight);
  for (int64_t row = 0; row < step_.rows(); ++row)
    receive(out + row * k, workspace_.hidden + row * hidden_stride_);
  check(cudaStreamSynchronize(stream_.get()), "reading hidden states");
  for (int64_t row = 0; row < step_.rows(); ++row)
    active_kernels().rms_norm_f32(out + row * k, norm.data(), out + row * k, k,
                                  static_cast<float>(config_.rms_norm_eps));
}

}  // namespace octet::cuda

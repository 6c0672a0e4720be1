#include "lib/backends/cuda/cuda_weights.h"

#include <algorithm>
#include <cstring>

#include "lib/core/error.h"

namespace octet::cuda {
namespace {

using kernels::num_groups;
using kernels::padded_k;
using kernels::padded_n;
using kernels::tile_n;
using kernels::cuda::num_chunks;
using kernels::cuda::weight_bytes;

/// Of the weights as the file has them.
int64_t file_bytes(const Matrix& matrix) {
  if (matrix.scheme == Scheme::f16) return matrix.n * matrix.k * 2;
  return padded_n(matrix.n) * padded_k(matrix.k);
}

/// Scales of a channel, and their bytes.
int64_t channel_scales(const Matrix& matrix) {
  return matrix.scheme == Scheme::w8a8 ? 1 : num_groups(matrix.k);
}
int64_t scale_size(const Matrix& matrix) {
  return matrix.scheme == Scheme::w8a8 ? 4 : 2;
}

/// Both schemes have scales by tiles of 16 channels: [n / 16][channel_scales][16].
void copy_channel_scales(const Matrix& from, int64_t channel, std::byte* to, int64_t to_channel) {
  const int64_t scales = channel_scales(from), size = scale_size(from);
  const auto place = [&](int64_t c, int64_t i) {
    return ((c / tile_n * scales + i) * tile_n + c % tile_n) * size;
  };
  for (int64_t i = 0; i < scales; ++i)
    std::memcpy(to + place(to_channel, i),
                static_cast<const std::byte*>(from.scale) + place(channel, i),
                static_cast<size_t>(size));
}

int64_t largest_matrix(const Weights& weights) {
  int64_t largest = std::max(file_bytes(weights.embedding), file_bytes(weights.head));
  for (const LayerWeights& layer : weights.layers)
    for (const Linear* linear :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down})
      largest = std::max(largest, file_bytes(linear->weight));
  return largest;
}

}  // namespace

CudaWeights::CudaWeights(const ModelConfig& config, const Weights& host, Progress progress,
                         const kernels::cuda::Queue& queue)
    : queue_(queue), progress_(progress), total_(host.bytes), view_(host) {
  staging_ = DeviceMemory(largest_matrix(host), "the weights");
  Matrix embedding = host.embedding;
  if (config.tied_head) embedding.planes = host.head.planes;
  upload_matrix(embedding, view_.embedding);
  for (size_t i = 0; i < host.layers.size(); ++i)
    upload_layer(host.layers[i], view_.layers[i], config);
  upload(host.final_norm, config.hidden_size, view_.final_norm);
  if (config.tied_head)
    view_.head = view_.embedding;
  else
    upload_matrix(host.head, view_.head);
  check(cudaStreamSynchronize(queue_.stream), "loading the weights");
  staging_ = {};
}

void* CudaWeights::allocate(int64_t bytes) {
  memory_.emplace_back(bytes, "the weights");
  return memory_.back().as<void>();
}

void* CudaWeights::send(const void* from, int64_t bytes) {
  void* to = allocate(bytes);
  check(
      cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, queue_.stream),
      "loading the weights");
  return to;
}

void CudaWeights::advance(int64_t bytes) {
  done_ += bytes;
  if (progress_.call)
    require(progress_.call(progress_.context, done_, total_), ErrorCode::Cancelled,
            "loading was cancelled");
}

void CudaWeights::upload(const float* from, int64_t count, const float*& to) {
  if (from) to = static_cast<const float*>(send(from, count * 4));
}

void CudaWeights::upload_weights(const Part& part, std::byte* weight) {
  const Matrix& matrix = part.from->weight;
  // In stream order: the kernel before has read what is overwritten.
  check(cudaMemcpyAsync(staging_.as<void>(), matrix.data, static_cast<size_t>(file_bytes(matrix)),
                        cudaMemcpyHostToDevice, queue_.stream),
        "loading the weights");
  const auto repack =
      matrix.scheme == Scheme::f16 ? kernels::cuda::repack_f16 : kernels::cuda::repack;
  repack({staging_.as<void>(), weight, matrix.n, matrix.k, part.first, part.step}, queue_);
  check(cudaGetLastError(), "loading the weights");
}

/// Zeros where no part has a channel.
void CudaWeights::upload_biases(std::span<const Part> parts, int64_t channels, CudaMatrix& matrix) {
  std::vector<float> biases(static_cast<size_t>(channels));
  bool any = false;
  for (const Part& part : parts) {
    const float* bias = part.from->bias;
    for (int64_t i = 0; bias && i < part.from->weight.n; ++i)
      biases[static_cast<size_t>(part.first + i * part.step)] = bias[i];
    any |= bias != nullptr;
  }
  if (any) upload(biases.data(), channels, matrix.bias);
  // The vector must live until it is sent.
  check(cudaStreamSynchronize(queue_.stream), "loading the weights");
}

std::byte* CudaWeights::allocate_weights(int64_t bytes) {
  auto* weight = static_cast<std::byte*>(allocate(bytes));
  // Kernels copy a little past the end, though they use nothing of it.
  check(cudaMemsetAsync(weight, 0, static_cast<size_t>(bytes), queue_.stream),
        "loading the weights");
  return weight;
}

void CudaWeights::upload_f16(std::span<const Part> parts, int64_t channels, CudaMatrix& matrix) {
  matrix.f16 = true;
  std::byte* weight = allocate_weights(channels * kernels::cuda::half_stride(matrix.k) * 2);
  matrix.data = weight;
  for (const Part& part : parts) upload_weights(part, weight);
}

void CudaWeights::upload_int8(std::span<const Part> parts, int64_t channels, CudaMatrix& matrix) {
  const Matrix& shape = parts[0].from->weight;
  matrix.grouped = shape.scheme == Scheme::w8a8_g128;
  std::byte* weight = allocate_weights(weight_bytes(channels, shape.k));
  matrix.data = weight;
  const auto scale_bytes =
      static_cast<size_t>(channels * channel_scales(shape) * scale_size(shape));
  std::vector<std::byte> scales(scale_bytes), rest_scales(scale_bytes);
  for (const Part& part : parts) {
    const Matrix& from = part.from->weight;
    upload_weights(part, weight);
    const bool rest = from.planes > 1;
    const int64_t end = part.first + (from.n - 1) * part.step + 1;
    for (int64_t i = 0; i < from.n; ++i) {
      const int64_t channel = part.first + i * part.step;
      copy_channel_scales(from, i, scales.data(), channel);
      if (rest) copy_channel_scales(from, i, rest_scales.data(), channel);
    }
    if (!rest) continue;
    const bool first = matrix.rest_end_tile == 0;
    const int64_t first_tile = part.first / tile_n, end_tile = padded_n(end) / tile_n;
    matrix.rest_first_tile = first ? first_tile : std::min(matrix.rest_first_tile, first_tile);
    matrix.rest_end_tile = std::max(matrix.rest_end_tile, end_tile);
  }
  const auto bytes = static_cast<int64_t>(scale_bytes);
  matrix.scale = send(scales.data(), bytes);
  if (matrix.rest_end_tile > 0) matrix.rest_scale = send(rest_scales.data(), bytes);
  // The vectors must live until they are sent.
  check(cudaStreamSynchronize(queue_.stream), "loading the weights");
}

void CudaWeights::upload(std::span<const Part> parts) {
  const Matrix& shape = parts[0].from->weight;
  int64_t channels = 0;
  for (const Part& part : parts) channels += padded_n(part.from->weight.n);
  CudaMatrix& matrix = matrices_.emplace_back();
  matrix.k = shape.k;
  matrix.n_tiles = channels / tile_n;
  if (shape.scheme == Scheme::f16) {
    upload_f16(parts, channels, matrix);
    any_f16_ = true;
  } else {
    upload_int8(parts, channels, matrix);
  }
  upload_biases(parts, channels, matrix);
  for (const Part& part : parts) {
    part.to->data = &matrix;
    part.to->scale = part.to->sum = nullptr;
    advance(part.from->weight.bytes);
  }
}

/// Neighbours of one scheme as one matrix.
void CudaWeights::upload_runs(std::span<const Linear* const> from, std::span<Matrix* const> to) {
  std::vector<Part> run;
  int64_t channels = 0;
  for (size_t i = 0; i < from.size(); ++i) {
    if (i > 0 && from[i]->weight.scheme != from[i - 1]->weight.scheme) {
      upload(run);
      run.clear();
      channels = 0;
    }
    run.push_back({from[i], to[i], channels, 1});
    channels += padded_n(from[i]->weight.n);
  }
  upload(run);
}

void CudaWeights::upload_matrix(const Matrix& from, Matrix& to) {
  const Linear source{from, nullptr};
  const Part part[] = {{&source, &to, 0, 1}};
  upload(part);
}

void CudaWeights::upload_layer(const LayerWeights& from, LayerWeights& to,
                               const ModelConfig& config) {
  upload(from.input_norm, config.hidden_size, to.input_norm);
  upload(from.post_norm, config.hidden_size, to.post_norm);
  upload(from.q_norm, config.head_dim, to.q_norm);
  upload(from.k_norm, config.head_dim, to.k_norm);
  const Linear* const qkv[] = {&from.q, &from.k, &from.v};
  Matrix* const to_qkv[] = {&to.q.weight, &to.k.weight, &to.v.weight};
  const Part gate_up[] = {{&from.gate, &to.gate.weight, 0, 2}, {&from.up, &to.up.weight, 1, 2}};
  const Part o[] = {{&from.o, &to.o.weight, 0, 1}}, down[] = {{&from.down, &to.down.weight, 0, 1}};
  upload_runs(qkv, to_qkv);
  upload(o);
  if (from.gate.weight.scheme == from.up.weight.scheme) {
    upload(gate_up);
  } else {
    gate_up_apart_ = true;
    const Linear* const apart[] = {&from.gate, &from.up};
    Matrix* const to_apart[] = {&to.gate.weight, &to.up.weight};
    upload_runs(apart, to_apart);
  }
  upload(down);
}

}  // namespace octet::cuda

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

int64_t packed_bytes(const Matrix& matrix) {
  return padded_n(matrix.n) * padded_k(matrix.k);
}

/// Bytes of the scales of 16 channels.
int64_t scale_tile_bytes(const Matrix& matrix) {
  return matrix.scheme == Scheme::w8a8 ? tile_n * 4 : tile_n * num_groups(matrix.k) * 2;
}

int64_t largest_matrix(const Weights& weights) {
  int64_t largest = std::max(packed_bytes(weights.embedding), packed_bytes(weights.head));
  for (const LayerWeights& layer : weights.layers)
    for (const Linear* linear :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down})
      largest = std::max(largest, packed_bytes(linear->weight));
  return largest;
}

}  // namespace

CudaWeights::CudaWeights(const ModelConfig& config, const Weights& host, Progress progress,
                         const kernels::cuda::Queue& queue)
    : queue_(queue), progress_(progress), total_(host.bytes), view_(host) {
  staging_ = DeviceMemory(largest_matrix(host), "the weights");
  upload_matrix(host.embedding, view_.embedding);
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

void CudaWeights::upload_tiles(const Part& part, std::byte* weight) {
  const Matrix& matrix = part.from->weight;
  // In stream order: the kernel before has read what is overwritten.
  check(cudaMemcpyAsync(staging_.as<void>(), matrix.data, static_cast<size_t>(packed_bytes(matrix)),
                        cudaMemcpyHostToDevice, queue_.stream),
        "loading the weights");
  kernels::cuda::repack({staging_.as<void>(), weight, matrix.n, matrix.k, part.first, part.step},
                        queue_);
  check(cudaGetLastError(), "loading the weights");
}

void CudaWeights::upload(std::span<const Part> parts) {
  const Matrix& first = parts[0].from->weight;
  int64_t channels = 0;
  for (const Part& part : parts) channels += padded_n(part.from->weight.n);
  const int64_t scale_tile = scale_tile_bytes(first), weight_tile = weight_bytes(tile_n, first.k);
  auto* weight = static_cast<std::byte*>(allocate(weight_bytes(channels, first.k)));
  std::vector<std::byte> scales(static_cast<size_t>(channels / tile_n * scale_tile));
  std::vector<float> biases(static_cast<size_t>(channels));
  bool any_bias = false;
  for (const Part& part : parts) {
    const Linear& from = *part.from;
    upload_tiles(part, weight);
    for (int64_t tile = 0; tile * tile_n < from.weight.n; ++tile) {
      const int64_t place = part.first + tile * part.step;
      std::memcpy(scales.data() + place * scale_tile,
                  static_cast<const std::byte*>(from.weight.scale) + tile * scale_tile,
                  static_cast<size_t>(scale_tile));
      if (!from.bias) continue;
      any_bias = true;
      std::copy_n(from.bias + tile * tile_n, std::min(tile_n, from.weight.n - tile * tile_n),
                  biases.begin() + place * tile_n);
    }
  }
  const auto* scale =
      static_cast<const std::byte*>(send(scales.data(), static_cast<int64_t>(scales.size())));
  const float* bias = nullptr;
  if (any_bias) upload(biases.data(), channels, bias);
  // The vectors must live until they are sent.
  check(cudaStreamSynchronize(queue_.stream), "loading the weights");
  for (const Part& part : parts) {
    part.to->weight.data = weight + part.first * weight_tile;
    part.to->weight.scale = scale + part.first * scale_tile;
    part.to->weight.sum = nullptr;
    part.to->bias = bias ? bias + part.first * tile_n : nullptr;
    advance(part.from->weight.bytes);
  }
}

void CudaWeights::upload_matrix(const Matrix& from, Matrix& to) {
  const Linear source{from, nullptr};
  Linear target{from, nullptr};
  const Part part[] = {{&source, &target, 0, 1}};
  upload(part);
  to = target.weight;
}

void CudaWeights::upload_layer(const LayerWeights& from, LayerWeights& to,
                               const ModelConfig& config) {
  const auto tiles = [](const Linear& linear) { return padded_n(linear.weight.n) / tile_n; };
  upload(from.input_norm, config.hidden_size, to.input_norm);
  upload(from.post_norm, config.hidden_size, to.post_norm);
  upload(from.q_norm, config.head_dim, to.q_norm);
  upload(from.k_norm, config.head_dim, to.k_norm);
  const Part qkv[] = {{&from.q, &to.q, 0, 1},
                      {&from.k, &to.k, tiles(from.q), 1},
                      {&from.v, &to.v, tiles(from.q) + tiles(from.k), 1}};
  const Part gate_up[] = {{&from.gate, &to.gate, 0, 2}, {&from.up, &to.up, 1, 2}};
  const Part o[] = {{&from.o, &to.o, 0, 1}}, down[] = {{&from.down, &to.down, 0, 1}};
  upload(qkv);
  upload(o);
  upload(gate_up);
  upload(down);
}

}  // namespace octet::cuda

// The start of a step: rows of the embedding, and the rotary angles of their positions.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_output.cuh"
#include "kernels/cuda/ptx.cuh"

namespace octet::kernels::cuda {
namespace {

__device__ float embedding_scale(const Embed& a, int64_t id, int64_t quad) {
  if (!a.grouped) return static_cast<const float*>(a.scale)[id];
  const int64_t group = id / tile_n * num_groups(a.k) + quad * tile_k / group_size;
  return bfloat16_value(static_cast<const uint16_t*>(a.scale)[group * tile_n + id % tile_n]);
}

__device__ void copy_halves(const Embed& a, int64_t id, float* out) {
  const auto* words = static_cast<const uint32_t*>(a.weight) + id * half_stride(a.k) / 2;
  for (int64_t i = threadIdx.x; i < a.k / 2; i += block_threads)
    reinterpret_cast<float2*>(out)[i] = unpack_halves(words[i]);
}

__device__ void dequantize(const Embed& a, int64_t id, float* out) {
  const auto* words = static_cast<const uint32_t*>(a.weight);
  for (int64_t quad = threadIdx.x; quad < a.k / tile_k; quad += block_threads) {
    const uint32_t word = words[weight_word(id, quad, num_chunks(a.k))];
    const float scale = embedding_scale(a, id, quad);
    for (int i = 0; i < 4; ++i)
      out[quad * 4 + i] = static_cast<float>(static_cast<int8_t>(word >> (8 * i) & 0xff)) * scale;
  }
}

/// lib/model/rope.cpp: the angle is fp32, its cosine and sine are taken in double.
__device__ void take_angles(const Embed& a, const StepRow& step, float* cos_out) {
  const float* frequency = a.frequencies + step.chunk * (a.half + 1);
  for (int64_t i = threadIdx.x; i < a.half; i += block_threads) {
    const double angle = static_cast<float>(step.position) * frequency[i];
    double sine, cosine;
    sincos(angle, &sine, &cosine);
    cos_out[i] = static_cast<float>(cosine) * frequency[a.half];
    cos_out[a.half + i] = static_cast<float>(sine) * frequency[a.half];
  }
}

__device__ void clear_peaks(const Embed& a) {
  for (int64_t i = blockIdx.x * block_threads + threadIdx.x; i < a.peak_words / 4;
       i += int64_t{gridDim.x} * block_threads)
    reinterpret_cast<uint4*>(a.peaks)[i] = make_uint4(0, 0, 0, 0);
}

/// A block for a row's values, one for its angles.
__global__ void __launch_bounds__(block_threads) embed_kernel(Embed a) {
  allow_next_kernel();
  wait_previous_kernels();
  const int64_t row = blockIdx.x;
  const StepRow step = a.step[row];
  float* out = a.hidden + row * a.stride;
  if (blockIdx.y == 1) {
    clear_peaks(a);
    take_angles(a, step, a.angles + row * 2 * a.half);
  } else if (a.f16) {
    copy_halves(a, step.id, out);
  } else {
    dequantize(a, step.id, out);
  }
}

}  // namespace

void embed(const Embed& embed, const Queue& queue) {
  launch(embed_kernel, {dim3(extent(embed.rows), 2), block_threads}, queue, embed);
}

}  // namespace octet::kernels::cuda

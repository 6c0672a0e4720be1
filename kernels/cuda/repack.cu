// Weights from the file's packed order to that of the tensor cores, 4 values at a time.
#include "kernels/cuda/launch.cuh"

namespace octet::kernels::cuda {
namespace {

__global__ void __launch_bounds__(block_threads) repack_kernel(Repack a) {
  const int64_t chunks = num_chunks(a.k), quads = padded_k(a.k) / tile_k;
  const auto* packed = static_cast<const uint32_t*>(a.packed);
  auto* weight = static_cast<uint32_t*>(a.weight);
  const int64_t channel = blockIdx.x, tile = channel / tile_n;
  const int64_t target = a.first + channel * a.step;
  for (int64_t c = threadIdx.x; c < chunks * chunk_k / tile_k; c += block_threads)
    weight[weight_word(target, c, chunks)] =
        c < quads ? packed[(tile * quads + c) * tile_n + channel % tile_n] : 0;
}

__global__ void __launch_bounds__(block_threads) repack_f16_kernel(Repack a) {
  const int64_t channel = blockIdx.x, stride = half_stride(a.k);
  const auto* from = static_cast<const uint16_t*>(a.packed) + channel * a.k;
  auto* to = static_cast<uint16_t*>(a.weight) + (a.first + channel * a.step) * stride;
  for (int64_t i = threadIdx.x; i < stride; i += block_threads) to[i] = i < a.k ? from[i] : 0;
}

}  // namespace

void repack(const Repack& repack, const Queue& queue) {
  launch(repack_kernel, {dim3(extent(padded_n(repack.n))), block_threads}, queue, repack);
}
void repack_f16(const Repack& repack, const Queue& queue) {
  launch(repack_f16_kernel, {dim3(extent(repack.n)), block_threads}, queue, repack);
}

}  // namespace octet::kernels::cuda

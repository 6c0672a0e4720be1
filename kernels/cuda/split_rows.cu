// Rows, normalized and rotated, as two fp16 terms: a block of threads a row.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {
namespace {

/// The power of two that brings `absmax` to [1, 2); 1 for 0 and for what is not finite.
__device__ inline float exponent_of(float absmax) {
  const uint32_t bits = __float_as_uint(absmax) & 0x7f800000u;
  return bits == 0 || bits == 0x7f800000u ? 1.0f : __uint_as_float(bits);
}

/// held: of quantize_rows().
template <int held, bool all_held>
__global__ void __launch_bounds__(block_threads) split_rows_kernel(RowSource source, HalfRows out) {
  __shared__ float4 exchanged[exchange_bytes(block_threads) / sizeof(float4)];
  __shared__ float shared[2][block_warps];
  allow_next_kernel();
  const FirstNorms norms(source);
  wait_previous_kernels();
  const int64_t index = blockIdx.x;
  const SpreadRow<held, all_held> row(source, index, norms, shared[0], exchanged);
  float absmax = 0;
  row.each(row.quads(), [&](int, const float4& v) { absmax = fmaxf(absmax, absmax_of(v)); });
  absmax = combine_block(absmax, LargerMagnitude(), shared[1]);
  // Both are powers of two: nothing rounds.
  const float scale = exponent_of(absmax), inverse = 1.0f / scale;
  auto* first = reinterpret_cast<uint2*>(out.values + index * out.stride);
  auto* second = reinterpret_cast<uint2*>(out.values + out.term + index * out.stride);
  row.each(static_cast<int>(out.stride / 4), [&](int i, const float4& v) {
    const float4 x = v * inverse;
    uint2 terms[2];
    split_terms(x.x, x.y, terms[0].x, terms[1].x);
    split_terms(x.z, x.w, terms[0].y, terms[1].y);
    first[i] = terms[0];
    second[i] = terms[1];
  });
  if (threadIdx.x > 0) return;
  out.scale[index] = scale;
  note_absmax(source.check, absmax);
}

}  // namespace

void split_rows(const RowSource& source, const HalfRows& out, int64_t rows, const Queue& queue) {
  const auto kernel = source.k <= short_held * 4 * block_threads
                          ? split_rows_kernel<short_held, true>
                          : split_rows_kernel<long_held, false>;
  launch(kernel, {dim3(extent(rows)), block_threads}, queue, source, out);
}

}  // namespace octet::kernels::cuda

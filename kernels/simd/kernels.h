// Defines the simd kernels of one instruction set. Included once by kernels/ISA/simd.cpp, with
//   OCTET_SIMD_ARCH       the xsimd architecture
//   OCTET_SIMD_NAME(op)   the kernel's name, op with the instruction set appended
//   OCTET_SIMD_TILE(op)   the name with the tile of the attention kernels before it
// flatten: everything is inlined into the kernels (by clang what they call themselves), xsimd's and
// the standard library's functions too, so that the object exports nothing else.
#include "kernels/simd/attention_float.h"
#include "kernels/simd/float_rows.h"
#include "kernels/simd/hadamard.h"
#include "kernels/simd/rms_norm.h"
#include "kernels/table.h"

namespace octet::kernels {

using Arch = OCTET_SIMD_ARCH;
#define OCTET_SIMD_KERNEL(op) OCTET_SIMD_NAME(op) [[gnu::flatten]]
#define OCTET_SIMD_TILE_KERNEL(op) OCTET_SIMD_TILE(op) [[gnu::flatten]]

void OCTET_SIMD_KERNEL(rms_norm_f32)(const float* x, const float* w, float* y, int64_t n,
                                     float eps) {
  simd::rms_norm<Arch>(x, w, y, n, eps);
}
void OCTET_SIMD_KERNEL(softmax_f32)(const float* x, float* y, int64_t n) {
  simd::softmax<Arch>(x, y, n);
}
void OCTET_SIMD_KERNEL(silu_mul_f32)(const float* gate, const float* up, float* y, int64_t n) {
  simd::silu_mul<Arch>(gate, up, y, n);
}
void OCTET_SIMD_KERNEL(hadamard_f32)(float* x, int64_t n, int64_t block) {
  simd::hadamard<Arch>(x, n, block);
}
void OCTET_SIMD_KERNEL(rope_f32)(float* x, const float* cos, const float* sin, int64_t head_dim) {
  simd::rope<Arch>(x, cos, sin, head_dim);
}
void OCTET_SIMD_KERNEL(add_f32)(const float* x, float* y, int64_t n) {
  simd::add<Arch>(x, y, n);
}
float OCTET_SIMD_KERNEL(dot_f32)(const float* a, const float* b, int64_t n) {
  return simd::dot<Arch>(a, b, n);
}
float OCTET_SIMD_KERNEL(dot_f16_f32)(const uint16_t* a, const float* b, int64_t n) {
  return simd::dot<Arch>(a, b, n);
}
void OCTET_SIMD_KERNEL(low_rank_f16_f32)(const LowRank& l) {
  simd::low_rank<Arch>(l);
}
void OCTET_SIMD_KERNEL(project_f16_f32)(const Project& p) {
  simd::project<Arch>(p);
}
void OCTET_SIMD_KERNEL(convert_f32_f16)(const float* x, uint16_t* y, int64_t n) {
  simd::convert<Arch>(x, y, n);
}
void OCTET_SIMD_KERNEL(convert_f16_f32)(const uint16_t* x, float* y, int64_t n) {
  simd::convert<Arch>(x, y, n);
}
void OCTET_SIMD_TILE_KERNEL(attention_f32)(const Attention& a) {
  simd::attention<Arch, simd::FloatCache<Arch, float>>(a);
}
void OCTET_SIMD_TILE_KERNEL(attention_f16)(const Attention& a) {
  simd::attention<Arch, simd::FloatCache<Arch, uint16_t>>(a);
}
void OCTET_SIMD_KERNEL(attention_merge_f32)(const AttentionMerge& merge) {
  simd::merge_partials<Arch>(merge);
}

}  // namespace octet::kernels

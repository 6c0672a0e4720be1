#pragma once
// Products of a warpgroup, which is four warps (PTX ISA, wgmma): sm_90a, with nothing to do before.
// They run beside the computation: begin_products(), products, commit_products(), then
// wait_products() with the sums.
// tests/cuda/emulator holds the same functions in plain C++.
#include "kernels/cuda/ptx.cuh"

namespace octet::kernels::cuda {

inline constexpr int warpgroup_threads = 128;
/// Rows of a product.
inline constexpr int warpgroup_rows = 64;

/// In shared memory at a multiple of 1,024 bytes, rows of 64 fp16 or 128 int8. Of row r, piece p of
/// 16 bytes lies at p ^ r % 8 (128-byte swizzle). Where rows are longer, the next columns of all
/// lie `apart` bytes on.
class SwizzledRows {
 public:
  __device__ SwizzledRows(void* shared, int apart) : shared_(shared), apart_(apart) {}

  __device__ uint4* piece(int row, int p) const {
    return static_cast<uint4*>(shared_) + p / 8 * (apart_ / 16) + row * 8 + (p % 8 ^ row % 8);
  }
  /// The matrix descriptor of 32 bytes from 32 k on, of rows that are a product's.
  __device__ uint64_t columns(int k) const { return descriptor(k / 4 * apart_ + k % 4 * 32); }
  /// That of rows [16 k, 16 k + 16), all columns.
  __device__ uint64_t rows(int k) const { return descriptor(k * 16 * 128); }

 private:
  __device__ uint64_t descriptor(int offset) const {
    const auto address =
        static_cast<uint32_t>(__cvta_generic_to_shared(shared_)) + static_cast<uint32_t>(offset);
    constexpr uint64_t eight_rows = 1024 / 16, swizzle_128 = 1;
    return (address & 0x3ffff) / 16 | static_cast<uint64_t>(apart_ / 16) << 16 | eight_rows << 32 |
           swizzle_128 << 62;
  }
  void* shared_;
  int apart_;
};

/// Dynamic shared memory from the first such multiple on.
inline constexpr int swizzled_alignment = 1024;
__device__ inline char* swizzled_shared() {
  char* memory = dynamic_shared<char>();
  return memory + (-reinterpret_cast<uintptr_t>(memory) & (swizzled_alignment - 1));
}

/// What this thread stored in shared memory becomes visible to products, behind a barrier.
__device__ inline void show_to_products() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// kind: "+f" or "+r".
#define OCTET_SUMS_4(kind, d, i) kind(d[i][0]), kind(d[i][1]), kind(d[i][2]), kind(d[i][3])
#define OCTET_SUMS_16(kind, d, i)                                                       \
  OCTET_SUMS_4(kind, d, i), OCTET_SUMS_4(kind, d, i + 1), OCTET_SUMS_4(kind, d, i + 2), \
      OCTET_SUMS_4(kind, d, i + 3)
#define OCTET_SUMS_32(kind, d, i) OCTET_SUMS_16(kind, d, i), OCTET_SUMS_16(kind, d, i + 4)
#define OCTET_REGISTERS_32                                                                         \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25," \
  "%26,%27,%28,%29,%30,%31"
#define OCTET_REGISTERS_48 \
  OCTET_REGISTERS_32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define OCTET_REGISTERS_64 \
  OCTET_REGISTERS_48 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"

/// Before products, once their registers are written.
__device__ inline void begin_products() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

/// sums [64][64] = a [64][16] b [16][64], or with `add` added to. a, b: descriptors of columns and
/// of rows. A warp has 16 rows of sums, as mma_f16() has them.
__device__ inline void product(float (&sums)[8][4], uint64_t a, uint64_t b, bool add) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {" OCTET_REGISTERS_32
      "}, %32, %33, add, 1, 1, 0, 1;\n}"
      : OCTET_SUMS_32("+f", sums, 0)
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
#endif
}
/// The same with a in registers, each warp's 16 rows as mma_f16() takes them.
__device__ inline void add_product(float (&sums)[8][4], const uint4& a, uint64_t b) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {" OCTET_REGISTERS_32
               "}, {%32,%33,%34,%35}, %36, 1, 1, 1, 1;"
               : OCTET_SUMS_32("+f", sums, 0)
               : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(b));
#endif
}
/// The same of 128 columns.
__device__ inline void add_product(float (&sums)[16][4], const uint4& a, uint64_t b) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {" OCTET_REGISTERS_64
               "}, {%64,%65,%66,%67}, %68, 1, 1, 1, 1;"
               : OCTET_SUMS_32("+f", sums, 0), OCTET_SUMS_32("+f", sums, 8)
               : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(b));
#endif
}

/// sums [64][64] = a [64][32] b [32][64], or with `add` added to, int8 to int32; a in registers,
/// each warp's 16 rows as mma_s8() takes them. b: descriptor of columns() of 64 rows, its columns.
__device__ inline void product(int (&sums)[8][4], const uint4& a, uint64_t b, bool add) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k32.s32.s8.s8 {" OCTET_REGISTERS_32
      "}, {%32,%33,%34,%35}, %36, add;\n}"
      : OCTET_SUMS_32("+r", sums, 0)
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(b), "r"(static_cast<int>(add)));
#endif
}
/// The same of 96 and of 128 rows.
__device__ inline void product(int (&sums)[12][4], const uint4& a, uint64_t b, bool add) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %53, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n96k32.s32.s8.s8 {" OCTET_REGISTERS_48
      "}, {%48,%49,%50,%51}, %52, add;\n}"
      : OCTET_SUMS_16("+r", sums, 0), OCTET_SUMS_32("+r", sums, 4)
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(b), "r"(static_cast<int>(add)));
#endif
}
__device__ inline void product(int (&sums)[16][4], const uint4& a, uint64_t b, bool add) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 {" OCTET_REGISTERS_64
      "}, {%64,%65,%66,%67}, %68, add;\n}"
      : OCTET_SUMS_32("+r", sums, 0), OCTET_SUMS_32("+r", sums, 8)
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(b), "r"(static_cast<int>(add)));
#endif
}

/// Behind products.
__device__ inline void commit_products() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
/// Until all that were committed have been added.
__device__ inline void wait_products(float (&sums)[8][4]) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.wait_group.sync.aligned 0;" : OCTET_SUMS_32("+f", sums, 0)::"memory");
#endif
}
__device__ inline void wait_products(float (&sums)[16][4]) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.wait_group.sync.aligned 0;"
               : OCTET_SUMS_32("+f", sums, 0), OCTET_SUMS_32("+f", sums, 8)::"memory");
#endif
}
__device__ inline void wait_products(int (&sums)[8][4]) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.wait_group.sync.aligned 0;" : OCTET_SUMS_32("+r", sums, 0)::"memory");
#endif
}
__device__ inline void wait_products(int (&sums)[12][4]) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.wait_group.sync.aligned 0;"
               : OCTET_SUMS_16("+r", sums, 0), OCTET_SUMS_32("+r", sums, 4)::"memory");
#endif
}
__device__ inline void wait_products(int (&sums)[16][4]) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.wait_group.sync.aligned 0;"
               : OCTET_SUMS_32("+r", sums, 0), OCTET_SUMS_32("+r", sums, 8)::"memory");
#endif
}

#undef OCTET_SUMS_4
#undef OCTET_SUMS_16
#undef OCTET_SUMS_32
#undef OCTET_REGISTERS_32
#undef OCTET_REGISTERS_48
#undef OCTET_REGISTERS_64

}  // namespace octet::kernels::cuda

#pragma once
// Which kernel runs: one row of kernels/kernels.def a kernel and instruction set.
#include <cstdint>

#include "kernels/types.h"

namespace octet::kernels {

/// row(isa) for each instruction set of the machine that this is compiled for, in rising order.
#if defined(__x86_64__)
#define OCTET_ISAS(row) row(ref) row(avx2) row(avxvnni) row(avx512vnni) row(amx)
#elif defined(__aarch64__)
#define OCTET_ISAS(row) row(ref) row(neon) row(neon_dotprod) row(neon_i8mm)
#else
#define OCTET_ISAS(row) row(ref)
#endif

/// Instruction sets in rising order: each one's kernels overlay the slower ones'.
#define OCTET_ISA(isa) isa,
enum class Isa : uint8_t { OCTET_ISAS(OCTET_ISA) };
#undef OCTET_ISA
#define OCTET_ISA(isa) +1
inline constexpr int num_isas = OCTET_ISAS(OCTET_ISA);
#undef OCTET_ISA

/// "ref", "avx2", "neon", ...: as in Isa.
const char* name(Isa isa);
/// The reverse; false if there is no such instruction set.
bool parse_isa(const char* text, Isa& isa);

/// A set of instruction sets: bit n stands for Isa n.
using IsaMask = uint32_t;
constexpr IsaMask bit(Isa isa) {
  return IsaMask{1} << static_cast<int>(isa);
}
/// Every instruction set up to and including this one.
constexpr IsaMask up_to(Isa isa) {
  return (bit(isa) << 1) - 1;
}
/// The fastest instruction set of a mask that holds at least Isa::ref.
constexpr Isa highest(IsaMask mask) {
  return static_cast<Isa>(31 - __builtin_clz(mask));
}

/// What this CPU and its operating system can run. Always holds Isa::ref; holds an instruction
/// set only together with all the slower ones, but that processors with avx512vnni may lack
/// avxvnni. Asks the system for the use of the AMX registers.
IsaMask detect_cpu();

/// The kernel in use for every operation.
struct Table {
#define OCTET_OP(op, type) type op;
#define OCTET_KERNEL(op, isa, function)
#include "kernels/kernels.def"
#undef OCTET_OP
#undef OCTET_KERNEL
  Isa isa;  ///< the fastest instruction set of the mask
  /// What the quantize kernels must xor into activations for this table's gemm_s8s8 kernels:
  /// 0x80 where the instruction multiplies unsigned by signed (vpdpbusd, tdpbusd), else 0.
  uint8_t activation_xor;
};

/// What the gemm_s8s8 kernels of one instruction set expect in Table::activation_xor.
constexpr uint8_t activation_xor([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avxvnni) return 0x80;
#endif
  return 0;
}

/// What is fastest for m rows with the gemm_s8s8 kernels of one instruction set. Those of AMX leave
/// fewer rows than a tile has to AVX512-VNNI's.
constexpr ActivationLayout activation_layout([[maybe_unused]] Isa isa, [[maybe_unused]] int64_t m) {
#if defined(__x86_64__)
  if (isa == Isa::amx && m >= activation_rows / 2) return ActivationLayout::tiles;
#endif
  return ActivationLayout::rows;
}

/// Whether the gemm_s8s8 kernels of one instruction set are to read one row's weights as a single
/// stream (GemmS8) where these lie in pages of 2 MB. With those of AVX512-VNNI that is 3 to 4 %
/// faster on AMD's Zen 4 (over pages of 4 KB 6 to 14 % slower), on Intel's Emerald Rapids 7 and 8 %
/// slower with 8 threads; the others have no such order.
inline bool reads_single_stream([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  return isa == Isa::avx512vnni && __builtin_cpu_is("amd");
#else
  return false;
#endif
}

/// Fills the table with `ref`, then overlays each instruction set of the mask in rising order.
/// Pure: depends on the mask alone.
Table make_table(IsaMask mask);

// Every kernel by name, for tests and benchmarks. (The pointer's target type, without
// <type_traits>.)
template <class Pointer>
struct Target;
template <class Function>
struct Target<Function*> {
  using type = Function;
};
#define OCTET_OP(op, type)
#define OCTET_KERNEL(op, isa, function) extern Target<decltype(Table::op)>::type function;
#include "kernels/kernels.def"
#undef OCTET_OP
#undef OCTET_KERNEL

}  // namespace octet::kernels

// Which of its instruction sets an x86-64 machine can run.
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// AMX-TILE and AMX-INT8 (CPUID leaf 7, EDX bits 24 and 25; __builtin_cpu_supports of clang 14 does
/// not know them), and the system's permission to use the tile registers: Linux grants it on
/// request, Documentation/arch/x86/xstate.rst.
bool has_amx() {
#ifdef OCTET_EMULATE_ISAS
  return true;
#else
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
  constexpr unsigned tile = 1u << 24, int8 = 1u << 25;
  if ((edx & (tile | int8)) != (tile | int8)) return false;
  constexpr int arch_req_xcomp_perm = 0x1023, xfeature_tile_data = 18;
  return syscall(SYS_arch_prctl, arch_req_xcomp_perm, xfeature_tile_data) == 0;
#endif
}

/// vpdpbusd and its kin in AVX's encoding (CPUID leaf 7, subleaf 1, EAX bit 4; clang 14 does not
/// know it). Processors may have AVX-512's and not this: Zen 4, Ice Lake.
bool has_avxvnni() {
#ifdef OCTET_EMULATE_ISAS
  return __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
#else
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & (1u << 4)) != 0;
#endif
}

/// fp16 conversions. Clang 14's __builtin_cpu_supports() does not know them; the registers are
/// AVX's.
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C) != 0;
}

}  // namespace

IsaMask detect_cpu() {
  IsaMask mask = bit(Isa::ref);
  // __builtin_cpu_supports also asks the operating system (XGETBV) whether it saves the registers.
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c()) return mask;
  mask |= bit(Isa::avx2);
  if (has_avxvnni()) mask |= bit(Isa::avxvnni);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vnni"))
    mask |= bit(Isa::avx512vnni);
  if ((mask & bit(Isa::avx512vnni)) && has_amx()) mask |= bit(Isa::amx);
  return mask;
}

}  // namespace octet::kernels

#include "kernels/table.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace octet::kernels {
namespace {

struct IsaName {
  Isa isa;
  const char* text;
};
constexpr IsaName isa_names[num_isas] = {
    {Isa::ref, "ref"}, {Isa::avx2, "avx2"}, {Isa::avx512vnni, "avx512vnni"}, {Isa::amx, "amx"}};

bool equal(const char* a, const char* b) {
  while (*a && *a == *b) ++a, ++b;
  return *a == *b;
}

#if defined(__x86_64__)
/// AMX-TILE and AMX-INT8 (CPUID leaf 7, EDX bits 24 and 25; __builtin_cpu_supports of clang 14 does
/// not know them), and the system's permission to use the tile registers: Linux grants it on
/// request, Documentation/arch/x86/xstate.rst.
bool has_amx() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
  constexpr unsigned tile = 1u << 24, int8 = 1u << 25;
  if ((edx & (tile | int8)) != (tile | int8)) return false;
  constexpr int arch_req_xcomp_perm = 0x1023, xfeature_tile_data = 18;
  return syscall(SYS_arch_prctl, arch_req_xcomp_perm, xfeature_tile_data) == 0;
}
#endif

}  // namespace

const char* name(Isa isa) {
  return isa_names[static_cast<int>(isa)].text;
}

bool parse_isa(const char* text, Isa& isa) {
  for (const IsaName& known : isa_names) {
    if (!equal(known.text, text)) continue;
    isa = known.isa;
    return true;
  }
  return false;
}

IsaMask detect_cpu() {
  IsaMask mask = bit(Isa::ref);
#if defined(__x86_64__)
  // __builtin_cpu_supports also asks the operating system (XGETBV) whether it saves the registers.
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("f16c"))
    return mask;
  mask |= bit(Isa::avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vnni"))
    mask |= bit(Isa::avx512vnni);
  if ((mask & bit(Isa::avx512vnni)) && has_amx()) mask |= bit(Isa::amx);
#endif
  return mask;
}

Table make_table(IsaMask mask) {
  Table table{};
  // Rows of one operation stand in rising order in kernels.def.
#define OCTET_OP(op, type)
#define OCTET_KERNEL(op, isa, function) \
  if (mask & bit(Isa::isa)) table.op = function;
#include "kernels/kernels.def"
#undef OCTET_OP
#undef OCTET_KERNEL
  table.isa = highest(mask);
  table.activation_xor = activation_xor(table.isa);
  return table;
}

}  // namespace octet::kernels

#include "kernels/table.h"

namespace octet::kernels {
namespace {

struct IsaName {
  Isa isa;
  const char* text;
};
constexpr IsaName isa_names[num_isas] = {
    {Isa::ref, "ref"}, {Isa::avx2, "avx2"}, {Isa::avx512vnni, "avx512vnni"}};

bool equal(const char* a, const char* b) {
  while (*a && *a == *b) ++a, ++b;
  return *a == *b;
}

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

// Which of its instruction sets an AArch64 machine can run: Linux says so in the auxiliary vector
// (Documentation/arch/arm64/elf_hwcaps.rst). NEON itself is part of every AArch64 Linux.
#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "kernels/table.h"

namespace octet::kernels {

IsaMask detect_cpu() {
  IsaMask mask = up_to(Isa::neon);
  if (!(getauxval(AT_HWCAP) & HWCAP_ASIMDDP)) return mask;
  mask |= bit(Isa::neon_dotprod);
  if (getauxval(AT_HWCAP2) & HWCAP2_I8MM) mask |= bit(Isa::neon_i8mm);
  return mask;
}

}  // namespace octet::kernels

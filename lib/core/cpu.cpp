#include "lib/core/cpu.h"

#include <sched.h>

#include <cstdlib>
#include <string>

#include "lib/core/error.h"

namespace octet {
namespace {

std::string list_isas(kernels::IsaMask mask) {
  std::string names;
  for (int i = 0; i < kernels::num_isas; ++i) {
    const auto isa = static_cast<kernels::Isa>(i);
    if (mask & kernels::bit(isa)) names += (names.empty() ? "" : ", ") + std::string(name(isa));
  }
  return names;
}

}  // namespace

kernels::Table select_kernels(kernels::IsaMask cpu, const char* max_isa) {
  if (!max_isa || !*max_isa) return kernels::make_table(cpu);
  kernels::Isa isa;
  require(kernels::parse_isa(max_isa, isa), ErrorCode::InvalidArgument, "OCTET_MAX_ISA=", max_isa,
          ": no such instruction set; known: ",
          list_isas(kernels::up_to(kernels::Isa{static_cast<uint8_t>(kernels::num_isas - 1)})));
  require(cpu & kernels::bit(isa), ErrorCode::InvalidArgument, "OCTET_MAX_ISA=", max_isa,
          ": this CPU has ", list_isas(cpu));
  return kernels::make_table(cpu & kernels::up_to(isa));
}

const kernels::Table& active_kernels() {
  static const kernels::Table table =
      select_kernels(kernels::detect_cpu(), std::getenv("OCTET_MAX_ISA"));
  return table;
}

int usable_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
}

}  // namespace octet

#pragma once
#include "kernels/table.h"

namespace octet {

/// The kernels of the fastest instruction set that this CPU has, lowered by the environment
/// variable OCTET_MAX_ISA (a name of kernels::Isa), read once. Errors: InvalidArgument if the
/// variable names no instruction set, or one that this CPU does not have.
const kernels::Table& active_kernels();

/// The same decision as a pure function; max_isa may be null or empty.
kernels::Table select_kernels(kernels::IsaMask cpu, const char* max_isa);

/// CPUs that this process may run on (affinity mask), at least 1.
int usable_cpus();

}  // namespace octet

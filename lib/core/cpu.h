#pragma once
#include <string>
#include <vector>

#include "kernels/table.h"

namespace octet {

/// The kernels of the fastest instruction set that this CPU has, lowered by the environment
/// variable OCTET_MAX_ISA (a name of kernels::Isa), read once. Errors: InvalidArgument if the
/// variable names no instruction set, or one that this CPU does not have.
const kernels::Table& active_kernels();

/// The same decision as a pure function; max_isa may be null or empty.
kernels::Table select_kernels(kernels::IsaMask cpu, const char* max_isa);

/// Cores that this process may use: cores_of() its affinity mask, but not more than
/// control_group_cpus(). At least 1.
int usable_cores();

/// Cores that these CPUs belong to. The CPUs of one core share its multipliers, so a thread on each
/// would gain nothing and wait for the others at the core's expense; llama.cpp and ONNX Runtime
/// count cores too (onnxruntime.ai/docs/performance/tune-performance/threading.html). A CPU of
/// which the system says nothing is a core of its own. root: what stands before /proc and /sys,
/// empty but in tests.
int cores_of(const std::vector<int>& cpus, const std::string& root);

/// CPUs that the control groups of this process (version 1 or 2) give it time for: the least quota
/// over period of its own group and those above, rounded up; 0 if none has a limit. root: as above.
int control_group_cpus(const std::string& root);

}  // namespace octet

#pragma once
#include <octet/error.h>
#include <octet/export.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace OCTET_EXPORT octet {

/// Where a model runs.
struct Device {
  enum class Kind { automatic, cpu, cuda };
  Kind kind = Kind::automatic;
  int index = 0;

  static Device cpu() { return {Kind::cpu, 0}; }
  static Device cuda(int index = 0) { return {Kind::cuda, index}; }
  /// "auto", "cpu", "cuda", "cuda:N". Errors: InvalidArgument.
  static Device parse(std::string_view text);
};

struct DeviceInfo {
  std::string name;         ///< as Device::parse takes it: "cpu", "cuda:0"
  std::string description;  ///< the maker's name for it
  int threads = 0;          ///< CPUs this process may use, or multiprocessors
  uint64_t memory_bytes = 0;
  std::vector<std::string>
      instruction_sets;  ///< of octet's kernels, slowest first; for CUDA what the binary holds
  std::string selected;  ///< the one that is used (OCTET_MAX_ISA lowers it); "none"
};

/// Everything a model can run on here. Errors: InvalidArgument if OCTET_MAX_ISA names an
/// instruction set that this CPU does not have.
std::vector<DeviceInfo> devices();

/// What the CPU can do at most, measured now with the instruction set in use. Operations count a
/// multiplication and an addition as two.
struct Peaks {
  double int8_ops_per_second = 0;
  double fp32_ops_per_second = 0;
  double read_bytes_per_second = 0;  ///< from memory, over a buffer far larger than the caches
};

/// Runs the probes with this many threads; takes about a second and 1 GB of memory.
/// threads: 0 for one a CPU that this process may use. Errors: InvalidArgument, OutOfMemory.
Peaks measure_peaks(int threads = 0);

}  // namespace octet

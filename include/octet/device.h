#pragma once
#include <octet/error.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace octet {

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
  int threads = 0;          ///< CPUs this process may use
  uint64_t memory_bytes = 0;
  std::vector<std::string> instruction_sets;  ///< of octet's kernels, slowest first
  std::string selected;                       ///< the one that is used (OCTET_MAX_ISA lowers it)
};

/// Everything a model can run on here. Errors: InvalidArgument if OCTET_MAX_ISA names an
/// instruction set that this CPU does not have.
std::vector<DeviceInfo> devices();

}  // namespace octet

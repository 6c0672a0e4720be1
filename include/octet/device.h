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

/// Threads of the host program that work in place of a pool of octet's own. To octet they are one
/// team: each operation of a decoder step is shared out over them, some hundreds a token.
struct Executor {
  using Work = void (*)(void* context, int index);
  /// Calls work(context, i) for each i in [0, count), each once, and returns when all calls have;
  /// count is `threads`. Which threads, how many at a time and in what order is the executor's
  /// choice: calls that begin late find less, or nothing, left to do. work does not throw; neither
  /// must run.
  using Run = void (*)(void* host, int count, Work work, void* context);
  Run run = nullptr;     ///< null: none
  void* host = nullptr;  ///< the executor's own, for run; outlives the model
  int threads = 0;       ///< at least 1: calls that can run at the same time
};

struct DeviceInfo {
  std::string name;         ///< as Device::parse takes it: "cpu", "cuda:0"
  std::string description;  ///< the maker's name for it
  int threads = 0;          ///< cores this process may use (below), or multiprocessors
  uint64_t memory_bytes = 0;
  std::vector<std::string>
      instruction_sets;  ///< of octet's kernels, slowest first; for CUDA what the binary holds
  std::string selected;  ///< the one that is used (OCTET_MAX_ISA lowers it); "none"
};

/// Everything a model can run on here. The cores that this process may use, which are also the
/// threads of a model where no number is given: those of the CPUs in its affinity mask, where the
/// CPUs of one core (hyper-threads) count once, as they share its multipliers; but no more than its
/// control groups (cpu.max, or cpu.cfs_quota_us over cpu.cfs_period_us, of its own and those above)
/// give time for, rounded up. Errors: InvalidArgument if OCTET_MAX_ISA names an instruction set
/// that this CPU does not have.
std::vector<DeviceInfo> devices();

/// What the CPU can do at most, measured now with the instruction set in use. Operations count a
/// multiplication and an addition as two.
struct Peaks {
  double int8_ops_per_second = 0;
  double fp32_ops_per_second = 0;
  double read_bytes_per_second = 0;  ///< from memory, over a buffer far larger than the caches
};

/// Measures Peaks, as often as asked: what a shared machine can do may change within seconds. One
/// thread at a time calls it. While it lives it has 1 GB of memory.
class PeakProbe {
 public:
  /// threads: 0 for one a core that this process may use. Takes about half a second.
  /// Errors: InvalidArgument, OutOfMemory.
  explicit PeakProbe(int threads = 0);
  PeakProbe(const PeakProbe&) = delete;
  PeakProbe& operator=(const PeakProbe&) = delete;
  ~PeakProbe();

  /// The better of two runs of each probe; takes about 0.15 s.
  Peaks measure();

 private:
  struct Impl;
  Impl* impl_;  // its own; <memory> is more than tests/headers lets headers include
};

}  // namespace octet

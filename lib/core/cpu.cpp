#include "lib/core/cpu.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <vector>

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

/// CPUs a control group is limited to; infinity if it is not, or does not exist.
/// Version 2 has "QUOTA PERIOD" or "max PERIOD" in one file, version 1 two files and -1 for none.
double group_limit(const std::string& folder, bool version2) {
  double quota = 0, period = 0;
  if (version2)
    std::ifstream(folder + "/cpu.max") >> quota >> period;
  else if (std::ifstream(folder + "/cpu.cfs_quota_us") >> quota)
    std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  return quota > 0 && period > 0 ? quota / period : std::numeric_limits<double>::infinity();
}

/// Whether a line of /proc/self/cgroup, "ID:CONTROLLERS:PATH", names a controller.
bool has_controller(const std::string& controllers, std::string_view name) {
  return ("," + controllers + ",").find("," + std::string(name) + ",") != std::string::npos;
}

}  // namespace

int control_group_cpus(const std::string& root) {
  double limit = std::numeric_limits<double>::infinity();
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string id, controllers, path; std::getline(groups, id, ':') &&
                                          std::getline(groups, controllers, ':') &&
                                          std::getline(groups, path);) {
    const bool version2 = controllers.empty();
    if (!version2 && !has_controller(controllers, "cpu")) continue;
    const std::string mount = root + (version2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu");
    // In a container the path may be the host's; the container's group is then the mount itself.
    for (;; path.resize(path.find_last_of('/'))) {
      while (path.ends_with('/')) path.pop_back();
      limit = std::min(limit, group_limit(mount + path, version2));
      if (path.find('/') == std::string::npos) break;
    }
  }
  // Beyond int there is no limit.
  return limit < 1e6 ? static_cast<int>(std::ceil(limit)) : 0;
}

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

int cores_of(const std::vector<int>& cpus, const std::string& root) {
  std::set<std::string> cores;
  for (const int cpu : cpus) {
    const std::string folder = root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu);
    // All CPUs of a core have the same list. (Newer kernels call it core_cpus_list, too.)
    std::string list;
    if (!(std::ifstream(folder + "/topology/thread_siblings_list") >> list)) list = folder;
    cores.insert(list);
  }
  return static_cast<int>(cores.size());
}

int usable_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  const int cores = std::max(1, cores_of(cpus, ""));
  const int limit = control_group_cpus("");
  return limit > 0 ? std::min(limit, cores) : cores;
}

}  // namespace octet

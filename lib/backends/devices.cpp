#include <octet/device.h>
#include <unistd.h>

#include <charconv>
#include <fstream>

#include "kernels/table.h"
#include "lib/backends/cuda/cuda_devices.h"
#include "lib/core/cpu.h"
#include "lib/core/error.h"

namespace octet {
namespace {

/// "model name" of /proc/cpuinfo; "CPU" where it does not say.
std::string cpu_description() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "CPU";
}

}  // namespace

Device Device::parse(std::string_view text) {
  if (text == "auto") return {};
  if (text == "cpu") return cpu();
  if (text == "cuda") return cuda();
  constexpr std::string_view prefix = "cuda:";
  if (text.starts_with(prefix)) {
    int index = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + prefix.size(), end, index);
    if (error == std::errc() && stop == end && index >= 0) return cuda(index);
  }
  fail(ErrorCode::InvalidArgument, "device '", text, "': auto, cpu, cuda or cuda:N expected");
}

std::vector<DeviceInfo> devices() {
  DeviceInfo cpu;
  cpu.name = "cpu";
  cpu.description = cpu_description();
  cpu.threads = usable_cores();
  cpu.memory_bytes =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const kernels::IsaMask mask = kernels::detect_cpu();
  for (int i = 0; i < kernels::num_isas; ++i)
    if (mask & kernels::bit(static_cast<kernels::Isa>(i)))
      cpu.instruction_sets.emplace_back(kernels::name(static_cast<kernels::Isa>(i)));
  cpu.selected = kernels::name(active_kernels().isa);
  std::vector<DeviceInfo> all = cuda_devices();
  all.insert(all.begin(), std::move(cpu));
  return all;
}

}  // namespace octet

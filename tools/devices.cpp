#include <cstdio>
#include <memory>

#include "common.h"

namespace octet::tools {
namespace {

void run(const CommonOptions& arguments) {
  const std::vector<DeviceInfo> all = devices();
  if (arguments.json) {
    Json list = Json::array();
    for (const DeviceInfo& device : all)
      list.push_back({{"name", device.name},
                      {"description", device.description},
                      {"threads", device.threads},
                      {"memory_bytes", device.memory_bytes},
                      {"instruction_sets", device.instruction_sets},
                      {"selected", device.selected}});
    print_json({{"devices", list}});
    return;
  }
  for (const DeviceInfo& device : all) {
    std::printf("%s: %s, %d %s, %.1f GB; kernels:", device.name.c_str(), device.description.c_str(),
                device.threads, device.name == "cpu" ? "cores" : "multiprocessors",
                static_cast<double>(device.memory_bytes) / 1e9);
    for (const std::string& isa : device.instruction_sets) std::printf(" %s", isa.c_str());
    std::printf(" (in use: %s)\n", device.selected.c_str());
  }
}

}  // namespace

void add_devices(CLI::App& app) {
  auto arguments = std::make_shared<CommonOptions>();
  CLI::App* command =
      app.add_subcommand("devices", "what can run here, and with which instruction sets");
  command->footer("Example: octet devices --json");
  arguments->add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace octet::tools

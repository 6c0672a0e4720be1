// The logits of int8 models do not depend on the instruction set (docs/architecture.md,
// Determinism). A process has the kernels of one, so the command runs once for each.
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/table.h"
#include "support/command.h"
#include "support/files.h"
#include "support/fixtures.h"

using namespace octet::testing;
namespace kernels = octet::kernels;

namespace {

/// Those of this machine but ref, whose sums are in double.
std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (int i = 1; i < kernels::num_isas; ++i) {
    const auto isa = static_cast<kernels::Isa>(i);
    if (kernels::detect_cpu() & kernels::bit(isa)) names.emplace_back(kernels::name(isa));
  }
  return names;
}

/// Runs the octet command, which inherits OCTET_MAX_ISA.
CommandResult run_with(const std::string& isa, const std::vector<std::string>& arguments) {
  setenv("OCTET_MAX_ISA", isa.c_str(), 1);
  CommandResult result = run_octet(arguments);
  unsetenv("OCTET_MAX_ISA");
  REQUIRE_MESSAGE(result.status == 0, result.err);
  return result;
}

/// What `octet logits` with these arguments writes.
std::string logits_file(const std::string& isa, std::vector<std::string> arguments) {
  const TempDir folder;
  const std::string out = folder.path("logits.safetensors");
  arguments.insert(arguments.end(), {"-o", out});
  run_with(isa, arguments);
  return content(out);
}

}  // namespace

TEST_CASE("an int8 model's logits are the same bits with the kernels of every instruction set") {
  const std::vector<std::string> isas = instruction_sets();
  if (isas.empty()) return;
  for (const std::string& isa : isas)  // or files of the same kernels would be compared
    REQUIRE(run_with(isa, {"devices"}).out.find("(in use: " + isa + ")") != std::string::npos);
  const TempDir folder;
  // Longer than a span of attention and as few rows as a decoding step has.
  nlohmann::json prompts(std::vector<std::vector<int32_t>>(3));
  const int lengths[] = {600, 65, 1};
  for (size_t prompt = 0; prompt < 3; ++prompt)
    for (int i = 0; i < lengths[prompt]; ++i) prompts[prompt].push_back((i * i * 31 + i * 7) % 500);
  std::ofstream(folder.path("ids.json")) << prompts;
  for (const std::string model : {"tiny-qwen2", "tiny-qwen3", "tiny-llama"})
    for (const std::string scheme : {"w8a8", "w8a8-g128"})
      for (const std::string cache : {"f16", "int16", "int8"}) {
        const std::vector<std::string> arguments = {
            "logits",     fixture(model), "--scheme",   scheme,
            "--kv-cache", cache,          "--ids-file", folder.path("ids.json")};
        const std::string reference = logits_file(isas.front(), arguments);
        for (size_t i = 1; i < isas.size(); ++i) {
          const bool same = logits_file(isas[i], arguments) == reference;
          CHECK_MESSAGE(same, model << ", " << scheme << ", " << cache << ": " << isas[i]);
        }
      }
}

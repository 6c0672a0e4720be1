#include "hostile/cases.h"

#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace octet::testing {
namespace {

namespace fs = std::filesystem;

Expect expectation(const std::string& word) {
  if (word == "reject") return Expect::reject;
  if (word == "accept") return Expect::accept;
  REQUIRE(word == "no_crash");
  return Expect::either;
}

std::string nested_brackets() {
  const size_t depth = size_t{5} << 20;
  return std::string(depth, '[') + std::string(depth, ']');
}

}  // namespace

std::vector<HostileCase> hostile_cases() {
  const auto manifest = nlohmann::json::parse(std::ifstream(fixture("hostile/manifest.json")));
  std::vector<HostileCase> cases;
  for (const auto& entry : manifest["cases"])
    cases.push_back({entry["file"], entry["kind"],
                     entry["overlay"].is_null() ? "" : entry["overlay"].get<std::string>(),
                     expectation(entry["expect"]), entry["why"]});
  for (const auto& entry : manifest["generated_by_script"]) {
    const std::string overlay = entry["overlay"];
    const std::string kind = overlay == "tokenizer.json" ? "tokenizer"
                             : overlay == "config.json"  ? "config"
                                                         : "index";
    cases.push_back({"", kind, overlay, expectation(entry["expect"]), "10 MiB of brackets"});
  }
  return cases;
}

std::string place(const HostileCase& hostile, const TempDir& folder) {
  if (hostile.overlay.empty()) {
    const fs::path source = fixture("hostile/" + hostile.file);
    const std::string path = folder.path(source.filename().string());
    fs::copy(source, path);
    return path;
  }
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"})
    fs::copy(fixture(std::string("hostile/base/") + name), folder.path(name));
  if (hostile.kind == "index")
    fs::rename(folder.path("model.safetensors"), folder.path("shard.safetensors"));
  fs::remove(folder.path(hostile.overlay));
  if (hostile.file.empty()) {
    std::ofstream(folder.path(hostile.overlay)) << nested_brackets();
  } else {
    fs::copy(fixture("hostile/" + hostile.file), folder.path(hostile.overlay));
  }
  return folder.path();
}

}  // namespace octet::testing

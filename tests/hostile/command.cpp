// Hostile files through the command: exit status 1 and one line on stderr, in little memory.
#include "support/command.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "hostile/cases.h"

using namespace octet::testing;

namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr int64_t most_memory = INT64_MAX;  // AddressSanitizer's own
constexpr double most_seconds = 10;
#else
constexpr int64_t most_memory = int64_t{256} << 20;
constexpr double most_seconds = 2;
#endif

/// Runs the command on a placed case and holds it against the contract.
void check_command(const std::vector<std::string>& arguments, Expect expect,
                   const std::string& folder, const std::string& input = "") {
  const CommandResult result = run_octet(arguments, input);
  CAPTURE(arguments[0]);
  CAPTURE(result.err);
  CHECK(result.seconds < most_seconds);
  CHECK(result.peak_bytes <= most_memory);
  if (expect == Expect::either) expect = result.status == 0 ? Expect::accept : Expect::reject;
  if (expect == Expect::accept) {
    CHECK(result.status == 0);
    CHECK(result.err.empty());
    return;
  }
  CHECK(result.status == 1);
  CHECK(result.out.empty());
  const bool known = result.err.starts_with("octet: error: InvalidFile: ") ||
                     result.err.starts_with("octet: error: Unsupported: ") ||
                     result.err.starts_with("octet: error: Io: ");
  CHECK(known);
  CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
  CHECK(result.err.ends_with('\n'));
  CHECK(result.err.find(folder) != std::string::npos);
}

void check_logits(const std::string& path) {
  const std::vector<float> logits = Expected(path).f32("logits");
  CHECK(logits.size() == 3 * 64);
  CHECK(std::all_of(logits.begin(), logits.end(), [](float x) { return std::isfinite(x); }));
}

}  // namespace

TEST_CASE("octet inspect, logits and tokenize fail in one line on hostile files") {
  size_t count = 0;
  for (const HostileCase& hostile : hostile_cases()) {
    CAPTURE(hostile.file);
    CAPTURE(hostile.overlay);
    CAPTURE(hostile.why);
    const TempDir folder;
    const std::string path = place(hostile, folder);
    if (hostile.kind == "tokenizer") {
      const std::string line = "{\"text\": \"hello w\"}\n";
      check_command({"tokenize", path}, hostile.expect, folder.path(), line);
      check_command({"tokenize", folder.path("tokenizer.json")}, hostile.expect, folder.path(),
                    line);
    } else {
      check_command({"inspect", path}, hostile.expect, folder.path());
    }
    const std::string out = folder.path("out.safetensors");
    check_command({"logits", path, "--ids", "1,2,3", "--threads", "1", "-o", out}, hostile.expect,
                  folder.path());
    CHECK(std::filesystem::exists(out) >= (hostile.expect == Expect::accept));
    CHECK(std::filesystem::exists(out) <= (hostile.expect != Expect::reject));
    if (std::filesystem::exists(out)) check_logits(out);
    ++count;
  }
  CHECK(count == 163);
}

// Hostile files through the library: an Error that names file and reason, or a model that works.
#include <octet/session.h>

#include <doctest/doctest.h>

#include <chrono>
#include <cmath>

#include "hostile/cases.h"
#include "support/evaluate.h"

using namespace octet;
using namespace octet::testing;

namespace {

/// The error's "<code>: <message>"; empty if the model opened and three tokens gave finite logits.
std::string refusal(const std::string& path) {
  try {
    ModelOptions options;
    options.threads = 1;
    const Model model = Model::open(path, options);
    Session session(model, {.context = 8});
    for (float logit : all_logits(session, std::vector<int32_t>{1, 2, 3}))
      CHECK(std::isfinite(logit));
    if (model.has_tokenizer())
      CHECK(model.tokenizer().decode(model.tokenizer().encode("hello w")) == "hello w");
    return "";
  } catch (const Error& error) {
    CHECK((error.code() == ErrorCode::InvalidFile || error.code() == ErrorCode::Unsupported ||
           error.code() == ErrorCode::Io));
    return std::string(to_string(error.code())) + ": " + error.what();
  }
}

}  // namespace

TEST_CASE("every hostile file is refused with its name and a reason, every good one works") {
  int refused = 0, opened = 0;
  for (const HostileCase& hostile : hostile_cases()) {
    CAPTURE(hostile.file);
    CAPTURE(hostile.overlay);
    CAPTURE(hostile.why);
    const TempDir folder;
    const std::string path = place(hostile, folder);
    const auto start = std::chrono::steady_clock::now();
    const std::string error = refusal(path);
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(2));
    CAPTURE(error);
    if (hostile.expect != Expect::either)
      CHECK(error.empty() == (hostile.expect == Expect::accept));
    ++(error.empty() ? opened : refused);
    if (error.empty()) continue;
    const size_t at = error.find(folder.path());
    REQUIRE(at != std::string::npos);
    const size_t reason = error.find(": ", at);
    REQUIRE(reason != std::string::npos);
    CHECK(error.size() > reason + 8);
    CHECK(error.find('\n') == std::string::npos);
  }
  CHECK(refused >= 145);
  CHECK(opened >= 13);
}

// The program in C99 against the C++ interface.
#include <octet/session.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>

#include "support/command.h"
#include "support/evaluate.h"
#include "support/text_model.h"

using namespace octet;
using namespace octet::testing;

TEST_CASE("a program in C99 with the shared library gets what C++ gets") {
  const TempDir folder;
  make_text_model("tiny-qwen2", folder.path("m"));
  const Model model = open_model(folder.path("m"), Scheme::w8a8);
  const std::string prompt = "Hello there";

  Session session(model, {.context = 256});
  GenerateOptions options = default_options(model);
  options.max_tokens = 20;
  options.sampler.temperature = 0;
  std::string expected = "streamed\n" + session.generate(prompt, options, [](std::string_view) {
    return true;
  }) + "\n";
  Session fresh(model, {.context = 256});
  const std::vector<int32_t> ids = model.tokenizer().encode(prompt);
  const std::vector<float> logits = all_logits(fresh, ids);
  const auto vocab = static_cast<size_t>(model.config().vocab_size);
  for (size_t row = 0; row < ids.size(); ++row) {
    const float* first = logits.data() + row * vocab;
    const float* best = std::max_element(first, first + vocab);
    char line[80];
    std::snprintf(line, sizeof line, "row %zu: %td %a\n", row, best - first, double{*best});
    expected += line;
  }

  const CommandResult result = run_program({OCTET_C99, folder.path("m"), prompt});
  CHECK(result.err == "");
  CHECK(result.status == 0);
  CHECK(result.out == expected);
}

TEST_CASE("a program in C99 gets an error's name and message") {
  const CommandResult result = run_program({OCTET_C99, "no-such-file", "Hi"});
  CHECK(result.status == 1);
  CHECK(result.err.starts_with("Io: no-such-file"));
}

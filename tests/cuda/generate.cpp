// Text from a model on the device: what is drawn from the best logits, and steps that are evaluated
// ahead, against all logits token by token.
#include <octet/engine.h>
#include <octet/session.h>

#include <cmath>

#include "support/text_model.h"
#include "tests/cuda/device.h"

using namespace octet;
using namespace octet::testing;

namespace {

GenerateOptions options_with(float temperature, int64_t top_k, int64_t max_tokens,
                             float top_p = 1) {
  GenerateOptions options;
  options.sampler = {.temperature = temperature, .top_k = top_k, .top_p = top_p, .seed = 3};
  options.max_tokens = max_tokens;
  options.stop_at_end_tokens = false;
  return options;
}

std::vector<int32_t> by_hand(const Model& model, std::vector<int32_t> next,
                             const GenerateOptions& options) {
  Session session(model, {.context = 128});
  Sampler sampler(options.sampler);
  std::vector<int32_t> made;
  while (std::ssize(made) < options.max_tokens) {
    std::vector<float> logits;
    session.evaluate(next, Session::Rows::last, [&](int64_t, std::span<const float> row) {
      logits.assign(row.begin(), row.end());
    });
    for (size_t id = 258; id < logits.size(); ++id) logits[id] = -INFINITY;  // no text
    made.push_back(sampler.sample(logits));
    next = {made.back()};
  }
  return made;
}

}  // namespace

TEST_CASE("cuda: an engine and a session make the text that all logits give") {
  if (!has_cuda()) return;
  const TempDir folder;
  make_text_model("tiny-qwen2", folder.path("m"));
  ModelOptions model_options;
  model_options.device = Device::cuda();
  model_options.max_rows = 64;
  const Model model = Model::open(folder.path("m"), model_options);
  const Tokenizer& tokenizer = model.tokenizer();
  const std::vector<int32_t> prompt = tokenizer.encode("Hello"), other = tokenizer.encode("How so");
  // Long enough for steps ahead.
  const GenerateOptions greedy = options_with(0, 0, 24), sampled = options_with(0.7f, 5, 8);
  // The best logits suffice always, or sometimes.
  const GenerateOptions cut = options_with(0.1f, 0, 12, 0.8f),
                        seldom_cut = options_with(1, 0, 12, 0.95f);

  const std::vector<int32_t> expected = by_hand(model, prompt, greedy);
  Session session(model, {.context = 128});
  std::string text;
  for (std::string_view piece : session.complete("Hello", greedy)) text += piece;
  CHECK(text == tokenizer.decode(expected, {.keep_special = false}));

  Engine engine(model, {.context = 128});
  const auto submit = [&](const std::vector<int32_t>& ids, const GenerateOptions& options) {
    EngineRequest request;
    request.prompt = ids;
    request.options = options;
    return engine.submit(request);
  };
  Generation first = submit(prompt, greedy), second = submit(other, sampled),
             third = submit(prompt, cut), fourth = submit(prompt, seldom_cut);
  const auto ids_of = [](Generation& generation) {
    std::vector<int32_t> ids;
    for (GenerationPiece piece; generation.next(piece);)
      if (piece.token.id >= 0) ids.push_back(piece.token.id);
    return ids;
  };
  CHECK(ids_of(first) == expected);
  CHECK(ids_of(second) == by_hand(model, other, sampled));
  for (auto [generation, options] : {std::pair{third, cut}, std::pair{fourth, seldom_cut}}) {
    const std::vector<int32_t> drawn = by_hand(model, prompt, options);
    CHECK(ids_of(generation) == drawn);
    text.clear();
    for (std::string_view piece : session.complete("Hello", options)) text += piece;
    CHECK(text == tokenizer.decode(drawn, {.keep_special = false}));
  }
}

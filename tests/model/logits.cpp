// The fp32 path against Hugging Face's logits, hidden states and greedy continuations.
#include <doctest/doctest.h>

#include <algorithm>

#include "lib/generate/session_impl.h"
#include "lib/model/decoder.h"
#include "lib/model/model_impl.h"
#include "support/evaluate.h"
#include "support/fixtures.h"

using namespace octet;
using namespace octet::testing;

namespace {

constexpr double tolerance = 2e-4;  // of the largest magnitude

const char* const tiny_models[] = {"tiny-qwen2", "tiny-qwen2-tied", "tiny-qwen2-distill",
                                   "tiny-llama", "tiny-qwen3",      "tiny-qwen2-yarn"};

/// "p7", "p33", ...: the prompts that a file of expected values holds.
std::vector<std::string> prompts(const Expected& expected) {
  std::vector<std::string> found;
  for (const std::string& name : expected.names())
    if (name.ends_with(".ids")) found.push_back(name.substr(0, name.size() - 4));
  return found;
}

std::vector<int32_t> continue_greedily(Session& session, std::vector<float> logits, size_t count) {
  std::vector<int32_t> ids;
  while (ids.size() < count) {
    ids.push_back(
        static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    session.evaluate(
        std::span(&ids.back(), 1), Session::Rows::last,
        [&](int64_t, std::span<const float> row) { logits.assign(row.begin(), row.end()); });
  }
  return ids;
}

void check_prompt(const Model& model, const Expected& expected, const std::string& prompt) {
  CAPTURE(prompt);
  const std::vector<int32_t> ids = expected.i32(prompt + ".ids");
  const auto vocab = static_cast<size_t>(model.config().vocab_size);
  Session session(model, {.context = static_cast<int64_t>(ids.size()) + 33});
  const std::vector<float> logits = all_logits(session, ids);
  const std::vector<float> last(logits.end() - static_cast<std::ptrdiff_t>(vocab), logits.end());
  const bool every = expected.contains(prompt + ".logits");
  const std::vector<float> reference = expected.f32(prompt + (every ? ".logits" : ".logits_last"));
  CHECK(max_difference(every ? logits : last, reference) <= tolerance * max_magnitude(reference));
  if (expected.contains(prompt + ".greedy")) {
    const std::vector<int32_t> greedy = expected.i32(prompt + ".greedy");
    CHECK(continue_greedily(session, last, greedy.size()) == greedy);
  }
}

void check_hidden(const Model& model, const Expected& expected, const std::string& prompt) {
  CAPTURE(prompt);
  const std::vector<int32_t> ids = expected.i32(prompt + ".ids");
  const ModelConfig& config = model.config();
  Session session(model, {.context = static_cast<int64_t>(ids.size())});
  Sequence& sequence = session.impl()->sequence;
  sequence.cache.extend(0, static_cast<int64_t>(ids.size()));
  ModelImpl& impl = *model.impl();
  const Chunk chunk[] = {{&sequence.cache, &sequence.rope, 0, static_cast<int64_t>(ids.size()), 0}};
  int64_t seen = 0;
  const auto observe = [&](int64_t index, const float* hidden) {
    const std::vector<float> got(hidden,
                                 hidden + ids.size() * static_cast<size_t>(config.hidden_size));
    const std::vector<float> reference = expected.f32(prompt + ".hidden." + std::to_string(index));
    CAPTURE(index);
    CHECK(max_difference(got, reference) <= tolerance * max_magnitude(reference));
    ++seen;
  };
  const HiddenObserver observer = observe;
  decode(
      config, impl.weights, *impl.backend, {ids, chunk, {}},
      [](int64_t, std::span<const RowLogits>) {}, &observer);
  CHECK(seen == config.num_layers + 1);
}

}  // namespace

TEST_CASE("logits and greedy continuations of the tiny models equal the reference's") {
  for (const char* name : tiny_models) {
    CAPTURE(name);
    const Model model = open_model(fixture(name), Scheme::f32);
    const Expected expected(fixture(std::string(name) + "/expected.safetensors"));
    REQUIRE(prompts(expected).size() >= 3);
    for (const std::string& prompt : prompts(expected)) check_prompt(model, expected, prompt);
  }
}

TEST_CASE("hidden states of each layer equal the reference's") {
  for (const char* name : tiny_models) {
    CAPTURE(name);
    const Model model = open_model(fixture(name), Scheme::f32);
    const Expected expected(fixture(std::string(name) + "/expected.safetensors"));
    check_hidden(model, expected, "p7");
    if (expected.contains("p33.hidden.0")) check_hidden(model, expected, "p33");
  }
}

TEST_CASE("logits of every GGUF type equal the reference's") {
  for (const char* prefix : {"tiny-llama-1l", "tiny-qwen2-2l"}) {
    const Expected expected(fixture(std::string("gguf/") + prefix + "-expected.safetensors"));
    int64_t compared = 0;
    for (const std::string& name : expected.names()) {
      if (!name.ends_with(".logits")) continue;
      CAPTURE(name);
      const std::string type = name.substr(0, name.find('.'));
      const std::string prompt = name.substr(type.size() + 1, name.rfind('.') - type.size() - 1);
      std::string file = type;
      std::transform(file.begin(), file.end(), file.begin(),
                     [](char c) { return std::tolower(c); });
      const Model model =
          open_model(fixture(std::string("gguf/") + prefix + "-" + file + ".gguf"), Scheme::f32);
      const std::vector<int32_t> ids = expected.i32(prompt + ".ids");
      Session session(model, {.context = static_cast<int64_t>(ids.size())});
      const std::vector<float> reference = expected.f32(name);
      CHECK(max_difference(all_logits(session, ids), reference) <=
            tolerance * max_magnitude(reference));
      ++compared;
    }
    CHECK(compared >= 1);
  }
}

// SmolLM2-135M-Instruct's real weights (OCTET_SMOLLM2 names the Q4_1 GGUF) against Hugging Face.
#include <octet/octet.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "support/fixtures.h"

using namespace octet;
using namespace octet::testing;
using Json = nlohmann::json;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif
/// Windows of the text whose perplexity is known; all of them take a sanitized build 15 minutes.
constexpr size_t max_windows = sanitized ? 1 : 8;

/// The GGUF's path; null where the weights could not be had.
const char* weights() {
  const char* path = std::getenv("OCTET_SMOLLM2");
  if (!path) MESSAGE("not run: OCTET_SMOLLM2 does not name the weights");
  return path;
}

Json fixture_json(const std::string& name) {
  return Json::parse(std::ifstream(fixture("smollm2/" + name)));
}

/// -ln p(target) of each scored position, windows of 512 ids, the first of a window not scored.
std::vector<double> token_nll(const Model& model, const std::vector<int32_t>& ids) {
  constexpr size_t window = 512;
  std::vector<double> all;
  for (size_t begin = 0; begin < ids.size(); begin += window) {
    Session session(model, {.context = window});
    const auto part = std::span(ids).subspan(begin, window);
    session.evaluate(part.first(window - 1), Session::Rows::all,
                     [&](int64_t row, std::span<const float> logits) {
                       const double best = *std::max_element(logits.begin(), logits.end());
                       double sum = 0;
                       for (float logit : logits) sum += std::exp(logit - best);
                       const auto target = static_cast<size_t>(part[static_cast<size_t>(row) + 1]);
                       all.push_back(best + std::log(sum) - logits[target]);
                     });
  }
  return all;
}

double perplexity(const std::vector<double>& nll) {
  double sum = 0;
  for (double value : nll) sum += value;
  return std::exp(sum / static_cast<double>(nll.size()));
}

}  // namespace

TEST_CASE("SmolLM2: fp32 perplexity is the reference's, w8a8-g128 within 2 %") {
  const char* path = weights();
  if (!path) return;
  const Json reference = fixture_json("ppl.json");
  auto ids = reference["ids"].get<std::vector<int32_t>>();
  std::vector<double> expected_nll;
  for (size_t i = 0; i < max_windows; ++i)
    for (const double value : reference["token_nll"].at(i)) expected_nll.push_back(value);
  ids.resize(512 * max_windows);
  const double expected = perplexity(expected_nll);
  if (!sanitized) CHECK(expected == doctest::Approx(reference["ppl"].get<double>()));

  const std::vector<double> nll = token_nll(open_model(path, Scheme::f32), ids);
  CHECK(std::abs(perplexity(nll) / expected - 1) < 0.001);
  double worst = 0;
  REQUIRE(nll.size() == expected_nll.size());
  for (size_t i = 0; i < nll.size(); ++i)
    worst = std::max(worst, std::abs(nll[i] - expected_nll[i]));
  CHECK(worst < 2e-3);

  const double grouped = perplexity(token_nll(open_model(path, Scheme::w8a8_g128), ids));
  const double channels = perplexity(token_nll(open_model(path, Scheme::w8a8), ids));
  MESSAGE("perplexity: reference ", expected, ", f32 ", perplexity(nll), ", w8a8-g128 ", grouped,
          " (x", grouped / expected, "), w8a8 ", channels, " (x", channels / expected, ")");
  CHECK(std::abs(grouped / expected - 1) < 0.02);
  CHECK(channels / expected < 1.10);  // reported; its accuracy is a later issue's matter
}

TEST_CASE("SmolLM2: the reference's prompts and greedy tokens, and the logits at each") {
  const char* path = weights();
  if (!path) return;
  const Model model = open_model(path, Scheme::f32);
  const Json prompts = fixture_json("greedy.json")["prompts"];
  REQUIRE(prompts.size() >= 3);
  for (const Json& prompt : prompts) {
    std::vector<ChatMessage> messages;
    for (const Json& message : prompt["messages"])
      messages.push_back({message["role"], message["content"]});
    const std::string rendered = render_chat(model, messages);
    CHECK(rendered == prompt["rendered"].get<std::string>());
    const std::vector<int32_t> ids = model.tokenizer().encode(rendered);
    CHECK(ids == prompt["prompt_ids"].get<std::vector<int32_t>>());

    Session session(model, {.context = static_cast<int64_t>(ids.size()) + 64});
    // The reference's token is fed at each step, so that all 64 positions are compared; the choice
    // itself only where it is no close call.
    std::vector<int32_t> input = ids;
    const auto greedy = prompt["greedy"].get<std::vector<int32_t>>();
    REQUIRE(greedy.size() == 64);
    for (size_t i = 0; i < greedy.size(); ++i) {
      const auto top_ids = prompt["top10_ids"][i].get<std::vector<size_t>>();
      const auto top = prompt["top10_logits"][i].get<std::vector<double>>();
      session.evaluate(input, Session::Rows::last, [&](int64_t, std::span<const float> logits) {
        for (size_t j = 0; j < top.size(); ++j)
          CHECK(std::abs(logits[top_ids[j]] - top[j]) < 0.005);
        const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
        if (top[0] - top[1] >= 0.02) CHECK(best == greedy[i]);
      });
      input = {greedy[i]};
    }
  }
}

TEST_CASE("SmolLM2: the GGUF quantized while loading and the converted file give the same text") {
  const char* path = weights();
  if (!path) return;
  const TempDir folder;
  const auto text = [](const Model& model) {
    GenerateOptions options = default_options(model);
    options.max_tokens = 48;
    Session session(model);
    return session.generate("Name three colours.", options, [](std::string_view) { return true; });
  };
  for (Scheme scheme : {Scheme::w8a8, Scheme::w8a8_g128}) {
    ConvertOptions options;
    options.scheme = scheme;
    options.calibration = Calibrate::off;  // loading does not calibrate
    convert(path, folder.path("m"), options);
    const std::string from_file = text(Model::open(folder.path("m")));
    CHECK(from_file.size() > 20);
    CHECK(text(Model::open(folder.path("m"))) == from_file);
    CHECK(text(open_model(path, scheme)) == from_file);
  }
}

TEST_CASE("SmolLM2: a converted w8a8 model's KL divergence from fp32 on held-out text") {
  const char* path = weights();
  if (!path) return;
  const TempDir folder;
  ConvertOptions options;  // the defaults
  if (sanitized) {         // the built-in text takes a quarter of an hour
    options.mixed = "off";
    options.calibration = Calibrate::text;
    options.calibration_text =
        "The harbour master kept three clocks on her wall. None of them agreed.";
  }
  const ConvertReport report = convert(path, folder.path("m"), options);
  CHECK(report.calibration_tokens > (sanitized ? 10 : 5000));
  std::ifstream text(fixture("smollm2/text.txt"), std::ios::binary);
  const auto read = [&](char* to, size_t count) {
    text.read(to, static_cast<std::streamsize>(count));
    return static_cast<size_t>(text.gcount());
  };
  const Model reference = open_model(path, Scheme::f32);
  const EvalComparison result = evaluate(Model::open(folder.path("m")), &reference, read,
                                         {.skip = 256, .max_tokens = sanitized ? 512 : 1024})
                                    .comparison;
  MESSAGE("KL ", result.kl_mean, " +- ", result.kl_mean_error, ", top-1 ", result.top1_agreement);
  CHECK(result.kl_mean < (sanitized ? 0.02 : 0.0021));
  if (sanitized) return;
  CHECK(report.mixed.one_plane_share >= 0.95);
  CHECK(report.mixed.kl + report.mixed.kl_error <= options.budget);
}

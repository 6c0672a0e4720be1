// The sampler against the reference of tests/data (transformers' logits processors), PCG32's
// published numbers, and its own documentation.
#include <doctest/doctest.h>
#include <octet/sampler.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lib/core/weight_sum.h"
#include "support/fixtures.h"

using namespace octet;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

/// The recipe of the reference: sums of the four 16-bit fields of xorshift64* numbers.
std::vector<float> reference_logits(size_t vocab, uint64_t seed) {
  const auto next = [&] {
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 2685821657736338717u;
  };
  std::vector<float> logits(vocab);
  for (float& logit : logits) {
    const uint64_t a = next(), b = next();
    const auto sum =
        static_cast<int64_t>((a & 0xFFFF) + (a >> 16 & 0xFFFF) + (a >> 32 & 0xFFFF) + (a >> 48));
    logit = static_cast<float>(sum * 64 + static_cast<int64_t>(b >> 58) - 8388480) / 524288.0f;
  }
  return logits;
}

/// PCG32 (XSH RR 64/32, stream 54), as a fraction of 2^32.
double next_random(uint64_t& state) {
  const uint64_t old = state;
  state = old * 6364136223846793005u + 109;
  const auto shifted = static_cast<uint32_t>(((old >> 18) ^ old) >> 27);
  return std::rotr(shifted, static_cast<int>(old >> 59)) * 0x1p-32;
}

SamplerOptions neutral() {
  SamplerOptions options;
  options.temperature = 1;
  options.top_k = 0;
  return options;
}

SamplerOptions options_of(const nlohmann::json& steps) {
  SamplerOptions options = neutral();
  for (const auto& step : steps) {
    const std::string name = step[0];
    if (name == "temperature") options.temperature = step[1];
    if (name == "top_k") options.top_k = step[1];
    if (name == "top_p") options.top_p = step[1];
    if (name == "min_p") options.min_p = step[1];
    if (name == "repetition_penalty") options.repetition_penalty = step[1];
    if (name == "presence_frequency") {
      options.presence_penalty = step[1][0];
      options.frequency_penalty = step[1][1];
    }
  }
  return options;
}

void check_error(const SamplerOptions& options, const std::string& name) {
  CAPTURE(name);
  try {
    Sampler sampler(options);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::InvalidArgument);
    CHECK(std::string(error.what()).find(name + " is ") != std::string::npos);
  }
}

/// 65,536 equal logits: the draw is the upper half of the random number.
std::vector<uint32_t> draws(uint64_t seed, int count) {
  SamplerOptions options = neutral();
  options.seed = seed;
  Sampler sampler(options);
  const std::vector<float> logits(65536, 1.5f);
  std::vector<uint32_t> ids;
  for (int i = 0; i < count; ++i) ids.push_back(static_cast<uint32_t>(sampler.sample(logits)));
  return ids;
}

}  // namespace

TEST_CASE("candidates are those of the reference, with the same probabilities") {
  const auto cases =
      nlohmann::json::parse(std::ifstream(octet::testing::fixture("sampler/expected.json")));
  REQUIRE(cases.size() == 24);
  for (const auto& c : cases) {
    CAPTURE(c["name"].get<std::string>());
    const std::vector<float> logits = reference_logits(c["vocab"], c["seed"]);
    for (size_t i = 0; i < 8; ++i) REQUIRE(logits[i] == c["first_logits"][i].get<float>());

    Sampler sampler(options_of(c["steps"]));
    if (c.contains("history"))
      for (int32_t id : c["history"]) sampler.accept(id);
    const auto candidates = sampler.candidates(logits);
    REQUIRE(candidates.size() == c["kept"].get<size_t>());
    double sum = 0;
    for (const Candidate& candidate : candidates) sum += candidate.probability;
    CHECK(sum == doctest::Approx(1).epsilon(1e-6));
    for (size_t i = 0; i < c["ids"].size(); ++i) {
      REQUIRE(candidates[i].id == c["ids"][i].get<int32_t>());
      const double expected = c["probs"][i];
      REQUIRE(std::abs(candidates[i].probability - expected) <= 1e-6 * expected);
    }
  }
}

TEST_CASE("the generator is PCG32") {
  // pcg32-demo of the reference implementation, seed 42, stream 54.
  CHECK(draws(42, 6) == std::vector<uint32_t>{0xa15c, 0x7b47, 0xba1d, 0x83d2, 0xbfa4, 0xcbed});
}

TEST_CASE("the same seed draws the same ids, another seed others") {
  CHECK(draws(7, 50) == draws(7, 50));
  CHECK(draws(7, 50) != draws(8, 50));
}

TEST_CASE("draws follow the candidates' probabilities") {
  SamplerOptions top_k = neutral(), top_p = neutral(), min_p = neutral();
  top_k.top_k = 4;
  top_p.top_p = 0.8f;
  min_p.min_p = 0.05f;
  const std::vector<float> logits = {0.5f, -infinity, 2.0f, 1.0f, -3.0f, 1.0f, 0.0f, -1.0f};
  for (const SamplerOptions& options : {neutral(), top_k, top_p, min_p}) {
    Sampler sampler(options);
    std::map<int32_t, int> counts;
    const int n = 20000;
    for (int i = 0; i < n; ++i) ++counts[sampler.sample(logits)];
    const auto candidates = sampler.candidates(logits);
    for (const Candidate& candidate : candidates) {
      const double p = candidate.probability, sigma = std::sqrt(p * (1 - p) / n);
      CHECK(std::abs(counts[candidate.id] / double{n} - p) < 4.5 * sigma);
    }
    CHECK(counts.size() <= candidates.size());
  }
}

TEST_CASE("a draw is the first candidate whose cumulative probability is above u") {
  // A whole vocabulary without cuts takes a shortcut when sampling; u is known from equal logits.
  const std::vector<float> logits = reference_logits(5000, 3);
  SamplerOptions options = neutral();
  options.seed = 42;
  Sampler sampler(options), reference(options);
  const auto all = reference.candidates(logits);
  REQUIRE(all.size() == logits.size());
  for (uint32_t r :
       {0xa15c02b7u, 0x7b47f409u, 0xba1d3330u, 0x83d2f293u, 0xbfa4784bu, 0xcbed606eu}) {
    double sum = 0;
    size_t i = 0;
    while ((sum += all[i].probability) <= r * 0x1p-32) ++i;
    CHECK(sampler.sample(logits) == all[i].id);
  }
}

TEST_CASE("temperature 0 takes the highest logit, of equals the lowest id") {
  SamplerOptions options;
  options.temperature = 0;
  Sampler sampler(options);
  CHECK(sampler.sample(std::vector<float>{1, 3, -infinity, 3, 2}) == 1);
  const auto candidates = sampler.candidates(std::vector<float>{1, 3, 3});
  REQUIRE(candidates.size() == 1);
  CHECK(candidates[0].id == 1);
  CHECK(candidates[0].probability == 1.0f);
}

TEST_CASE("of equal logits, top_k keeps the lowest ids") {
  SamplerOptions options = neutral();
  options.top_k = 3;
  Sampler sampler(options);
  const auto candidates = sampler.candidates(std::vector<float>{1, 2, 1, 1, 1});
  REQUIRE(candidates.size() == 3);
  CHECK(candidates[0].id == 1);
  CHECK(candidates[1].id == 0);
  CHECK(candidates[2].id == 2);
}

TEST_CASE("repetition_penalty counts the prompt, the other penalties only what was generated") {
  SamplerOptions options = neutral();
  options.repetition_penalty = 2;
  options.presence_penalty = 0.5f;
  options.frequency_penalty = 0.25f;
  Sampler sampler(options);
  for (int32_t id : {0, 1, 1}) sampler.accept_prompt(id);
  for (int32_t id : {2, 2, 1}) sampler.accept(id);
  sampler.accept(100);  // outside this vocabulary: no effect
  // Penalized: 4 / 2; -1 * 2 - 0.5 - 0.25; 3 / 2 - 0.5 - 2 * 0.25; untouched.
  const double scores[] = {2, -2.75, 0.5, 1};
  double sum = 0;
  for (double score : scores) sum += std::exp(score);
  const auto candidates = sampler.candidates(std::vector<float>{4, -1, 3, 1});
  REQUIRE(candidates.size() == 4);
  for (const Candidate& candidate : candidates)
    CHECK(candidate.probability ==
          doctest::Approx(std::exp(scores[candidate.id]) / sum).epsilon(1e-6));
}

TEST_CASE("logits of -inf are never drawn, whatever the options") {
  std::vector<float> logits(64, -infinity);
  logits[17] = -1e30f;
  SamplerOptions options = neutral();
  for (float temperature : {0.0f, 1e-30f, 1.0f, 1e30f})
    for (int64_t top_k : {0, 1, 5, 1000}) {
      options.temperature = temperature;
      options.top_k = top_k;
      Sampler sampler(options);
      CHECK(sampler.sample(logits) == 17);
      REQUIRE(sampler.candidates(logits).size() == 1);
    }
}

TEST_CASE("extreme logits and temperatures stay finite") {
  const std::vector<float> logits = {-3e38f, 3e38f, 0, 3e38f};
  SamplerOptions options = neutral();
  for (float temperature : {1e-38f, 1.0f, 3e38f}) {
    options.temperature = temperature;
    Sampler sampler(options);
    double sum = 0;
    for (const Candidate& candidate : sampler.candidates(logits)) sum += candidate.probability;
    CHECK(sum == doctest::Approx(1));
  }
}

TEST_CASE("the sum of weights is as near as it says") {
  for (const size_t vocab : {1, 15, 16, 17, 511, 512, 513, 20000})
    for (const float spread : {0.1f, 1.0f, 8.0f, 60.0f})
      for (const float temperature : {0.01f, 0.6f, 1.0f, 100.0f}) {
        CAPTURE(vocab);
        CAPTURE(spread);
        CAPTURE(temperature);
        std::vector<float> logits = reference_logits(vocab, vocab + 1);
        for (float& logit : logits) logit *= spread;
        logits.back() = -infinity;
        logits[vocab / 2] = 3 * spread;
        const float best = *std::max_element(logits.begin(), logits.end());
        double expected = 0;
        for (const float logit : logits) expected += std::exp((double{logit} - best) / temperature);
        const double got = weight_sum(logits, best, temperature);
        CHECK(std::abs(got / expected - 1) < weight_sum_error / 2);
      }
}

TEST_CASE("draws are the first candidates whose probabilities sum to above the random number") {
  const std::vector<float> logits = reference_logits(50000, 5);
  for (const SamplerOptions& options :
       {SamplerOptions{.temperature = 0.6f, .top_k = 0, .top_p = 0.95f},
        SamplerOptions{.temperature = 1, .top_k = 0}, SamplerOptions{.temperature = 3, .top_k = 0},
        SamplerOptions{.temperature = 1, .top_k = 0, .top_p = 0.5f, .min_p = 0.01f},
        SamplerOptions{.temperature = 0.8f, .top_k = 0, .repetition_penalty = 1.3f}}) {
    Sampler sampler(options);
    for (int32_t id = 0; id < 900; ++id) sampler.accept(id * 37);
    // The candidates' own sums are exact, and each of them is small: wrong bounds would show.
    std::vector<Candidate> candidates;
    Sampler other = sampler;
    for (const Candidate& one : other.candidates(logits)) candidates.push_back(one);
    REQUIRE(candidates.size() > 20);
    uint64_t state = 0;
    next_random(state);
    state += options.seed;
    next_random(state);
    for (int draw = 0; draw < 2000; ++draw) {
      const int32_t id = sampler.sample(logits);
      const double random = next_random(state);
      double before = 0;
      size_t i = 0;
      while (i < candidates.size() && candidates[i].id != id) before += candidates[i++].probability;
      REQUIRE(i < candidates.size());
      CHECK(before <= random + 1e-6);
      CHECK(before + candidates[i].probability > random - 1e-6);
    }
  }
}

TEST_CASE("what is drawn from the best logits is what all of them give") {
  std::vector<float> logits = reference_logits(3000, 11);
  for (size_t i = 0; i < logits.size(); i += 3) logits[i] = std::round(logits[i] * 8) / 8;  // ties
  std::vector<TopLogit> best;
  for (size_t id = 0; id < logits.size(); ++id)
    best.push_back({logits[id], static_cast<int32_t>(id)});
  std::stable_sort(best.begin(), best.end(),
                   [](const TopLogit& a, const TopLogit& b) { return a.logit > b.logit; });
  for (const float temperature : {0.0f, 0.3f, 1.0f, 5.0f})
    for (const int64_t top_k : {1, 5, 50, 64})
      for (const float top_p : {0.6f, 1.0f})
        for (const float min_p : {0.0f, 0.2f}) {
          SamplerOptions options{temperature, top_k, top_p, min_p};
          Sampler of_all(options), of_best(options);
          REQUIRE(of_best.best_needed() == (temperature == 0 ? 1 : top_k));
          const size_t some = temperature == 0 ? 1 : static_cast<size_t>(top_k);
          for (int i = 0; i < 40; ++i) {
            // More than are needed change nothing.
            const auto given = std::span(best).first(some + static_cast<size_t>(i % 2) * 7);
            CHECK(of_best.sample_best(given) == of_all.sample(logits));
          }
        }
}

TEST_CASE("what top_p and min_p keep is drawn from the best logits and the sum of all weights") {
  int64_t drawn = 0, refused = 0;
  for (const uint32_t seed : {1u, 2u, 3u})
    for (const float spread : {0.2f, 1.0f, 2.0f}) {
      std::vector<float> logits = reference_logits(3000, seed);
      for (float& logit : logits) logit *= spread;
      for (size_t i = 0; i < logits.size(); i += 3) logits[i] = std::round(logits[i] * 8) / 8;
      std::vector<TopLogit> best;
      for (size_t id = 0; id < logits.size(); ++id)
        best.push_back({logits[id], static_cast<int32_t>(id)});
      std::stable_sort(best.begin(), best.end(),
                       [](const TopLogit& a, const TopLogit& b) { return a.logit > b.logit; });
      best.resize(max_top_logits);
      for (const float temperature : {0.3f, 0.6f, 1.0f})
        for (const float top_p : {0.2f, 0.8f, 0.95f, 1.0f})
          for (const float min_p : {0.0f, 0.05f, 0.3f}) {
            if (top_p == 1 && min_p == 0) continue;
            double sum = 0;
            for (const float logit : logits)
              sum += std::exp((double{logit} - best[0].logit) / temperature);
            const SamplerOptions options{temperature, 0, top_p, min_p};
            Sampler of_all(options), of_best(options);
            REQUIRE(of_best.best_needed() == 0);
            REQUIRE(of_best.best_wanted() == max_top_logits);
            const auto kept = std::ssize(of_all.candidates(logits));
            // As inexact as a device may be.
            for (const double error : {-0.9e-5, 0.0, 0.9e-5}) {
              const bool suffices = of_best.suffice(best, sum * (1 + error));
              if (kept > max_top_logits) CHECK(!suffices);
              if (top_p == 1) CHECK(suffices == (kept < max_top_logits));
              if (!suffices) {
                ++refused;
                CHECK_THROWS_AS(of_best.sample_best(best, sum), Error);
                continue;
              }
              for (int i = 0; i < 20; ++i, ++drawn)
                CHECK(of_best.sample_best(best, sum * (1 + error)) == of_all.sample(logits));
            }
          }
    }
  CHECK(drawn > 5000);
  CHECK(refused > 50);
}

TEST_CASE("a cut within the error of the sum of all weights is not guessed") {
  // The best two have 0.75 of the weights to within 1e-6: whether they reach top_p is not known.
  std::vector<TopLogit> best = {{0, 1}, {-0.1f, 2}};
  while (std::ssize(best) < max_top_logits)
    best.push_back(
        {-5 - 0.01f * static_cast<float>(best.size()), static_cast<int32_t>(best.size()) + 1});
  const double of_two = 1 + std::exp(double{-0.1f});
  Sampler sampler(SamplerOptions{1, 0, 0.75f});
  CHECK(!sampler.suffice(best, of_two / 0.75));
  CHECK(!sampler.suffice(best, of_two / 0.75 * (1 + 1e-6)));
  CHECK(sampler.suffice(best, of_two / 0.75 * (1 + 3e-5)));
  CHECK(sampler.suffice(best, of_two / 0.75 * (1 - 3e-5)));
}

TEST_CASE("draws that the best logits do not suffice for say so") {
  const std::vector<TopLogit> best = {{2, 7}, {1, 3}, {-infinity, -1}};
  for (const SamplerOptions& options :
       {SamplerOptions{.top_k = 0}, SamplerOptions{.top_k = 65},
        SamplerOptions{.temperature = 0, .repetition_penalty = 1.1f},
        SamplerOptions{.presence_penalty = 1}, SamplerOptions{.frequency_penalty = 1}}) {
    Sampler sampler(options);
    CHECK(sampler.best_needed() == 0);
    CHECK(sampler.best_wanted() == 0);
    CHECK_THROWS_AS(sampler.sample_best(best), Error);
  }
  // A vocabulary smaller than top_k ends in -infinity, which is never drawn.
  Sampler few(SamplerOptions{.temperature = 3, .top_k = 5});
  for (int i = 0; i < 100; ++i) CHECK(few.sample_best(best) != -1);
  CHECK_THROWS_AS(few.sample_best(std::vector<TopLogit>{{not_a_number, 1}, {1, 2}}), Error);
  CHECK_THROWS_AS(few.sample_best(std::vector<TopLogit>{{infinity, 1}, {1, 2}}), Error);
  CHECK_THROWS_AS(few.sample_best(std::vector<TopLogit>{{-infinity, -1}}), Error);
  CHECK_THROWS_AS(few.sample_best({}), Error);
}

TEST_CASE("NaN, +inf and no candidate at all are errors") {
  for (int64_t top_k : {0, 2})
    for (float temperature : {0.0f, 1.0f}) {
      SamplerOptions options = neutral();
      options.top_k = top_k;
      options.temperature = temperature;
      Sampler sampler(options);
      sampler.accept(1);
      CHECK_THROWS_AS(sampler.sample(std::vector<float>{5, 4, not_a_number, 1}), Error);
      CHECK_THROWS_AS(sampler.sample(std::vector<float>{5, not_a_number, 1, 1}), Error);
      CHECK_THROWS_AS(sampler.sample(std::vector<float>{5, 4, 3, infinity}), Error);
      CHECK_THROWS_AS(sampler.candidates(std::vector<float>(9, -infinity)), Error);
      CHECK_THROWS_AS(sampler.candidates({}), Error);
    }
  Sampler sampler;
  CHECK_THROWS_AS(sampler.accept(-1), Error);
  CHECK_THROWS_AS(sampler.accept_prompt(-1), Error);
}

TEST_CASE("options out of range are errors that name them") {
  for (float bad : {-0.1f, not_a_number, infinity}) {
    check_error({.temperature = bad}, "temperature");
    check_error({.top_p = bad}, "top_p");
    check_error({.min_p = bad}, "min_p");
    check_error({.repetition_penalty = bad}, "repetition_penalty");
  }
  check_error({.top_k = -1}, "top_k");
  check_error({.top_p = 0}, "top_p");
  check_error({.top_p = 1.01f}, "top_p");
  check_error({.min_p = 1.01f}, "min_p");
  check_error({.repetition_penalty = 0}, "repetition_penalty");
  check_error({.presence_penalty = not_a_number}, "presence_penalty");
  check_error({.frequency_penalty = infinity}, "frequency_penalty");
}

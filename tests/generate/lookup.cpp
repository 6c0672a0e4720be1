// Prompt lookup changes how fast text is made, and nothing else.
#include <octet/session.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "lib/generate/draft_length.h"
#include "support/evaluate.h"
#include "support/text_model.h"

using namespace octet;
using namespace octet::testing;

namespace {

struct Variant {
  Scheme scheme = Scheme::w8a8;
  KvCacheType kv_cache = KvCacheType::f16;
};
constexpr Variant int8_variants[] = {{},
                                     {Scheme::w8a8_g128, KvCacheType::f16},
                                     {Scheme::w8a8, KvCacheType::int16},
                                     {Scheme::w8a8, KvCacheType::int8}};
constexpr Variant f32{Scheme::f32, KvCacheType::f32};

struct TextModels {
  TempDir folder;
  std::vector<Model> models;

  TextModels() {
    make_text_model("tiny-qwen2", folder.path("m"));
    for (const auto& [scheme, kv_cache] : int8_variants)
      models.push_back(open_model(folder.path("m"), scheme, 2, 256, kv_cache));
    models.push_back(open_model(folder.path("m"), Scheme::f32));
  }
};

const Model& model_of(Variant variant) {
  static const TextModels instance;
  for (const Model& model : instance.models)
    if (model.scheme() == variant.scheme && model.kv_cache() == variant.kv_cache) return model;
  FAIL("no such model");
  return instance.models[0];
}

const std::string repetitive = "one two three, one two three, one two three, one two";

/// Likes to repeat itself: each id gets more probable the more often it was drawn.
GenerateOptions sampled(uint64_t seed) {
  GenerateOptions options;
  options.sampler.temperature = 0.7f;
  options.sampler.top_k = 0;
  options.sampler.frequency_penalty = -0.7f;
  options.sampler.seed = seed;
  options.max_tokens = 80;
  return options;
}

GenerateOptions greedy(int64_t max_tokens) {
  GenerateOptions options;
  options.sampler.temperature = 0;
  options.max_tokens = max_tokens;
  return options;
}

/// Everything that can be seen of a generation, at each piece and after it.
struct Outcome {
  std::vector<std::string> pieces;
  std::vector<std::vector<int32_t>> tokens;
  int64_t generated = 0;
  StopReason stop = StopReason::none;
  bool operator==(const Outcome&) const = default;
};

/// at_piece(session) returns false to stop.
template <class AtPiece>
Outcome outcome(Session& session, const std::string& prompt, const GenerateOptions& options,
                AtPiece at_piece) {
  Outcome seen;
  TextStream stream = session.complete(prompt, options);
  for (std::string_view piece : stream) {
    seen.pieces.emplace_back(piece);
    seen.tokens.push_back(session.tokens());
    if (at_piece(session)) continue;
    stream.stop();
    break;
  }
  seen.tokens.push_back(session.tokens());
  seen.generated = session.stats().generated_tokens;
  seen.stop = session.stats().stop;
  return seen;
}

constexpr auto go_on = [](Session&) { return true; };

std::string joined(const Outcome& outcome) {
  std::string text;
  for (const std::string& piece : outcome.pieces) text += piece;
  return text;
}

/// Two sessions that do the same, one with lookup.
struct Pair {
  explicit Pair(int64_t context, Variant variant = {})
      : with(model_of(variant), {.context = context}),
        without(model_of(variant), {.context = context}) {}

  template <class AtPiece>
  Outcome check_same(const std::string& prompt, GenerateOptions options, AtPiece at_piece) {
    options.lookup = true;
    const Outcome a = outcome(with, prompt, options, at_piece);
    options.lookup = false;
    const Outcome b = outcome(without, prompt, options, at_piece);
    CHECK(without.stats().drafted_tokens == 0);
    CHECK(a == b);
    const GenerateStats& stats = with.stats();
    CHECK(stats.accepted_tokens <= stats.drafted_tokens);
    CHECK(stats.accepted_tokens <= stats.generated_tokens);
    accepted += stats.accepted_tokens;
    drafted += stats.drafted_tokens;
    return a;
  }
  Outcome check_same(const std::string& prompt, const GenerateOptions& options) {
    return check_same(prompt, options, go_on);
  }

  Session with, without;
  int64_t accepted = 0, drafted = 0;
};

}  // namespace

TEST_CASE("lookup gives the same text, greedy and sampled, in every int8 scheme") {
  for (const Variant& variant : int8_variants) {
    CAPTURE(to_string(variant.scheme));
    CAPTURE(to_string(variant.kv_cache));
    Pair pair(512, variant);
    pair.check_same(repetitive, greedy(200));
    // Where a row costs more (AVX2, NEON), guesses are shorter and fewer.
    const bool cheap_rows = extra_row_cost(model_of(variant), 0) < 0.2;
    CHECK(pair.accepted > (cheap_rows ? 25 : 15));
    pair.accepted = pair.drafted = 0;
    for (uint64_t seed = 0; seed < 12; ++seed) {
      CAPTURE(seed);
      pair.check_same(repetitive, sampled(seed));
    }
    CHECK(pair.accepted > 100);
    CHECK(pair.drafted > pair.accepted);            // wrong guesses occurred too
    for (const float temperature : {0.1f, 1.0f}) {  // the best logits suffice always, sometimes
      GenerateOptions cut = sampled(2);
      cut.sampler = {.temperature = temperature, .top_k = 0, .top_p = 0.95f, .seed = 2};
      pair.check_same(repetitive, cut);
    }
    GenerateOptions wild = sampled(1);  // meets end tokens
    wild.sampler.temperature = 3;
    for (; wild.sampler.seed < 8; ++wild.sampler.seed) pair.check_same(repetitive, wild);
  }
}

TEST_CASE("the float schemes do without lookup") {
  Session session(model_of(f32), {.context = 256});
  outcome(session, repetitive, greedy(60), go_on);
  CHECK(session.stats().drafted_tokens == 0);
}

TEST_CASE("stops inside of a draft are the same as without lookup") {
  Pair pair(512);
  const std::string text = joined(pair.check_same(repetitive, greedy(90)));
  REQUIRE(pair.accepted > 20);
  SUBCASE("stop strings") {
    for (size_t at = 20; at + 5 < text.size(); at += 3) {
      CAPTURE(at);
      GenerateOptions options = greedy(90);
      options.stop = {text.substr(at, 5), "not there"};
      pair.check_same(repetitive, options);
    }
  }
  SUBCASE("limits") {
    for (int64_t limit = 1; limit < 60; ++limit) {
      CAPTURE(limit);
      CHECK(pair.check_same(repetitive, greedy(limit)).generated == limit);
    }
  }
  SUBCASE("the callback") {
    for (int limit = 1; limit < 60; ++limit) {
      CAPTURE(limit);
      size_t size[2] = {};
      pair.check_same(repetitive, greedy(90), [&](Session& session) {
        return ++size[&session == &pair.with] < static_cast<size_t>(limit);
      });
    }
  }
  SUBCASE("the context") {
    for (int64_t context = 53; context < 110; ++context) {
      CAPTURE(context);
      Pair small(context);
      CHECK(small.check_same(repetitive, greedy(200)).stop == StopReason::context_full);
    }
  }
}

TEST_CASE("a session that is cut and continued between generations and tokens stays the same") {
  Pair pair(512);
  for (int round = 0; round < 12; ++round) {
    CAPTURE(round);
    const std::string prompt = repetitive.substr(0, 20 + static_cast<size_t>(round * 7 % 30));
    GenerateOptions options = round % 2 ? sampled(7) : greedy(50);
    pair.check_same(prompt, options);
    for (Session* session : {&pair.with, &pair.without}) {
      session->truncate(session->size() * (round % 4) / 3 * 3 / 4);
      const std::vector<int32_t> more = {1, 2, 3, 4};
      session->evaluate(more, Session::Rows::none, [](int64_t, std::span<const float>) {});
    }
    CHECK(pair.with.tokens() == pair.without.tokens());
    // In the middle of a draft, too.
    pair.check_same(prompt, options, [&](Session& session) {
      const int64_t size = session.size();
      if (size % 5 == 0) session.truncate(size - 2);
      const std::vector<int32_t> other = {static_cast<int32_t>(size % 200)};
      if (size % 7 == 0)
        session.evaluate(other, Session::Rows::none, [](int64_t, std::span<const float>) {});
      return true;
    });
  }
  CHECK(pair.accepted > 100);
}

TEST_CASE("a model of few rows drafts as many as a step holds") {
  static const TempDir folder;
  make_text_model("tiny-qwen2", folder.path("m"));
  for (int64_t max_rows : {1, 2, 5}) {
    CAPTURE(max_rows);
    Session narrow(open_model(folder.path("m"), Scheme::w8a8, 1, max_rows), {.context = 256});
    Session wide(text_model(), {.context = 256});
    CHECK(outcome(narrow, repetitive, greedy(80), go_on) ==
          outcome(wide, repetitive, greedy(80), go_on));
    CHECK((narrow.stats().drafted_tokens > 0) == (max_rows > 1));
  }
}

namespace {

/// The probability of the likeliest id, computed in double without lookup and sampler from a
/// position's logits and the ids generated before; id: which one it is.
double best_probability(std::span<const float> row, std::span<const int32_t> made,
                        const SamplerOptions& options, int32_t& id) {
  std::vector<double> logits(row.begin(), row.begin() + 258);  // the rest has no text
  for (int32_t before : made)
    logits[static_cast<size_t>(before)] -= double{options.frequency_penalty};
  id = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  double sum = 0;
  for (double logit : logits)
    sum += std::exp((logit - logits[static_cast<size_t>(id)]) / double{options.temperature});
  return 1 / sum;
}

}  // namespace

TEST_CASE("sampled tokens have the model's distribution, drafted or not") {
  constexpr size_t positions = 24, runs = 150;
  Session session(text_model(), {.context = 128}), plain(text_model(), {.context = 128});
  const size_t prompt = text_model().tokenizer().encode(repetitive).size();
  double excess[positions] = {}, variance[positions] = {};
  int64_t accepted = 0;
  for (uint64_t seed = 1000; seed < 1000 + runs; ++seed) {
    GenerateOptions options = sampled(seed);
    options.sampler.frequency_penalty = -1.5f;
    options.stop_at_end_tokens = false;
    options.max_tokens = positions + 1;  // the last one drawn is not evaluated
    outcome(session, repetitive, options, go_on);
    accepted += session.stats().accepted_tokens;
    const std::vector<int32_t> tokens = session.tokens();
    REQUIRE(tokens.size() == prompt + positions);
    plain.truncate(0);
    const std::vector<float> logits = all_logits(plain, tokens);
    for (size_t i = 0; i < positions; ++i) {
      int32_t best = 0;
      const double p =
          best_probability(std::span(logits).subspan((prompt + i - 1) * 1024, 1024),
                           std::span(tokens).subspan(prompt, i), options.sampler, best);
      excess[i] += (tokens[prompt + i] == best) - p;
      variance[i] += p * (1 - p);
    }
  }
  CHECK(accepted > static_cast<int64_t>(runs * positions / 4));
  double chi_square = 0;
  for (size_t i = 0; i < positions; ++i) chi_square += excess[i] * excess[i] / variance[i];
  CAPTURE(chi_square);
  CHECK(chi_square < 51.2);  // 24 degrees of freedom: 0.1 % of samples are above
  CHECK(chi_square > 8.1);   // and 0.1 % below
}

TEST_CASE("draft lengths follow the share of right guesses and the cost of a row") {
  DraftLength length;
  for (int i = 0; i < 200; ++i) length.observe(2, false);
  CHECK(length.choose(2, 0.1, 11) == 0);
  CHECK(length.choose(8, 0.1, 11) > 0);  // another length of match is judged by itself
  for (int i = 0; i < 200; ++i) length.observe(2, true);
  CHECK(length.choose(2, 0.1, 11) == 11);
  CHECK(length.choose(2, 0.1, 3) == 3);
  CHECK(length.choose(2, 0.1, 0) == 0);
  CHECK(length.choose(2, 1.0, 11) == 0);  // a row that costs as much as a step gains nothing
  // Half right: the best of (1 + p + ... + p^k) / (1 + c k) by hand, for c = 0.1 and 0.3.
  for (int i = 0; i < 2000; ++i) length.observe(4, i % 2 == 0);
  CHECK(length.choose(4, 0.1, 11) == 2);
  CHECK(length.choose(4, 0.3, 11) == 1);
}

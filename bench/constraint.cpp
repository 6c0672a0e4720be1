// Constrained decoding's cost a token, over the vocabulary of Qwen2.5 (151,936 logits): masking the
// logits and following the token drawn, along a JSON text; once with every mask there already, and
// once with a new automaton.
#include <benchmark/benchmark.h>
#include <octet/error.h>

#include "lib/generate/constraint_grammar.h"
#include "lib/generate/token_constraint.h"

namespace {

using namespace octet;

constexpr size_t vocabulary = 151'936;
constexpr const char* schema = R"({"type": "object", "properties": {
  "name": {"type": "string"}, "age": {"type": "integer"},
  "tags": {"type": "array", "items": {"type": "string"}},
  "address": {"type": "object", "properties": {"street": {"type": "string"},
                                               "city": {"enum": ["Berlin", "Paris"]}},
              "required": ["street", "city"]}},
  "required": ["name", "age", "tags", "address"]})";
constexpr const char* text =
    "{\"name\": \"Johann Gutenberg\", \"age\": 68, \"tags\": [\"printing\", \"movable type\"], "
    "\"address\": {\"street\": \"Hof zum Gutenberg\", \"city\": \"Berlin\"}}";

/// One walk along the text; returns the tokens.
int64_t follow(TokenConstraint& constraint, const std::vector<int32_t>& ids,
               std::vector<float>& logits) {
  int32_t state = constraint.start();
  for (int32_t id : ids) {
    constraint.apply(state, logits);
    state = constraint.after(state, id);
    if (state == TokenConstraint::dead) throw Error(ErrorCode::Internal, "the text does not fit");
  }
  return static_cast<int64_t>(ids.size());
}

void run(benchmark::State& state, bool warm) {
  try {
    const Tokenizer tokenizer = Tokenizer::open(OCTET_TEST_DATA "/tokenizer/qwen2.5");
    const auto trie = std::make_shared<const TokenTrie>(tokenizer, std::vector<int32_t>{});
    const auto nfa = std::make_shared<const Nfa>(*json_schema_grammar(schema));
    const std::vector<int32_t> ids = tokenizer.encode(text);
    std::vector<float> logits(vocabulary, 1.0f);
    auto constraint = std::make_unique<TokenConstraint>(nfa, trie);
    follow(*constraint, ids, logits);
    int64_t tokens = 0;
    for (auto _ : state) {
      if (!warm) constraint = std::make_unique<TokenConstraint>(nfa, trie);
      tokens += follow(*constraint, ids, logits);
    }
    state.counters["seconds_a_token"] = benchmark::Counter(
        static_cast<double>(tokens), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  } catch (const Error& error) {
    state.SkipWithError(error.what());
  }
}

void constraint_warm(benchmark::State& state) {
  run(state, true);
}
void constraint_new(benchmark::State& state) {
  run(state, false);
}
BENCHMARK(constraint_warm)->Unit(benchmark::kMillisecond);
BENCHMARK(constraint_new)->Unit(benchmark::kMillisecond);

void constraint_tree(benchmark::State& state) {
  try {
    const Tokenizer tokenizer = Tokenizer::open(OCTET_TEST_DATA "/tokenizer/qwen2.5");
    for (auto _ : state)
      benchmark::DoNotOptimize(
          std::make_shared<const TokenTrie>(tokenizer, std::vector<int32_t>{}));
  } catch (const Error& error) {
    state.SkipWithError(error.what());
  }
}
BENCHMARK(constraint_tree)->Unit(benchmark::kMillisecond);

}  // namespace

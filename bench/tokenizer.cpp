// Tokenizer speed: bytes of English encoded a second, and the time to load a converted file's
// vocabulary. The vocabulary is the fixture of Qwen2.5 (151,643 tokens), the text an English book.
#include <benchmark/benchmark.h>
#include <octet/error.h>

#include <string>

#include "lib/core/mapped_file.h"
#include "lib/text/tokenizer_impl.h"

namespace {

using namespace octet;

std::string test_data(const char* name) {
  return read_file(std::string(OCTET_TEST_DATA "/") + name, size_t{1} << 30);
}

Tokenizer qwen25() {
  TokenizerSource source;
  source.where = "tokenizer/qwen2.5/tokenizer.json";
  source.json = test_data("tokenizer/qwen2.5/tokenizer.json");
  return make_tokenizer(source);
}

/// Runs the body; a fixture that is missing makes the row an error.
template <class Body>
void or_skip(benchmark::State& state, const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    state.SkipWithError(error.what());
  }
}

void tokenizer_encode_english(benchmark::State& state) {
  or_skip(state, [&] {
    const Tokenizer tokenizer = qwen25();
    const std::string text = test_data("smollm2/text.txt");
    for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode(text));
    state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
  });
}
BENCHMARK(tokenizer_encode_english)->Unit(benchmark::kMillisecond);

void tokenizer_decode_english(benchmark::State& state) {
  or_skip(state, [&] {
    const Tokenizer tokenizer = qwen25();
    const std::string text = test_data("smollm2/text.txt");
    const auto ids = tokenizer.encode(text);
    for (auto _ : state) benchmark::DoNotOptimize(tokenizer.decode(ids));
    state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
  });
}
BENCHMARK(tokenizer_decode_english)->Unit(benchmark::kMillisecond);

void tokenizer_load_flat(benchmark::State& state) {
  or_skip(state, [&] {
    TokenizerSource source;
    source.kind = TokenizerSource::Kind::flat;
    source.where = "flat";
    source.bytes = qwen25().impl()->serialize();
    for (auto _ : state) benchmark::DoNotOptimize(make_tokenizer(source));
    state.counters["file_bytes"] = static_cast<double>(source.bytes.size());
  });
}
BENCHMARK(tokenizer_load_flat)->Unit(benchmark::kMillisecond);

void tokenizer_load_json(benchmark::State& state) {
  or_skip(state, [&] {
    for (auto _ : state) benchmark::DoNotOptimize(qwen25());
  });
}
BENCHMARK(tokenizer_load_json)->Unit(benchmark::kMillisecond);

}  // namespace

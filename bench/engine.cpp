// What a user waits for, at the shape of R1-Distill-Qwen-1.5B with random weights: the first token
// of a prompt of 2,000 tokens, new and mostly in the cache, and the end of work after cancelling
// it.
#include <benchmark/benchmark.h>
#include <octet/engine.h>
#include <octet/session.h>

#include <chrono>
#include <thread>

namespace {

using namespace octet;
using Clock = std::chrono::steady_clock;

const Model& model() {
  static const Model instance = Model::random("r1-distill-qwen-1.5b");
  return instance;
}

std::vector<int32_t> some_ids(int32_t count, int32_t seed) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < count; ++i) ids.push_back((i * 7919 + seed * 104'729) % 150'000);
  return ids;
}

/// Seconds to the first token of a prompt.
double first_token(Engine& engine, std::vector<int32_t> prompt) {
  EngineRequest request;
  request.prompt = std::move(prompt);
  request.options.max_tokens = 1;
  Generation generation = engine.submit(std::move(request));
  GenerationPiece piece;
  while (generation.next(piece)) {
  }
  return generation.stats().first_token_seconds;
}

void engine_first_token(benchmark::State& state, bool cached) {
  Engine engine(model());
  int32_t seed = 1;
  first_token(engine, some_ids(2000, seed));
  for (auto _ : state) {
    if (!cached) ++seed;
    state.SetIterationTime(first_token(engine, some_ids(2000, seed)));
  }
}

void first_token_new(benchmark::State& state) {
  engine_first_token(state, false);
}
void first_token_cached(benchmark::State& state) {
  engine_first_token(state, true);
}
BENCHMARK(first_token_new)->UseManualTime()->Iterations(2)->Unit(benchmark::kMillisecond);
BENCHMARK(first_token_cached)->UseManualTime()->Iterations(5)->Unit(benchmark::kMillisecond);

/// From cancel() to the end of evaluate(), at various places of a prompt.
void session_cancel(benchmark::State& state) {
  Session session(model());
  const std::vector<int32_t> ids = some_ids(2000, 7);
  int64_t wait = 400;
  for (auto _ : state) {
    session.truncate(0);
    const CancelToken cancel = CancelToken::make();
    Clock::time_point begin;
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(wait));
      begin = Clock::now();
      cancel.cancel();
    });
    try {
      session.evaluate(
          ids, Session::Rows::last, [](int64_t, std::span<const float>) {}, cancel);
    } catch (const Error&) {
    }
    const Clock::time_point end = Clock::now();
    other.join();
    state.SetIterationTime(std::chrono::duration<double>(end - begin).count());
    wait += 37;
  }
}
BENCHMARK(session_cancel)->UseManualTime()->Iterations(8)->Unit(benchmark::kMillisecond);

}  // namespace

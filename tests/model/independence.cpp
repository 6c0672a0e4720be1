// The int8 schemes' logits do not depend on threads, chunks or what else is in the batch: bit for
// bit.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "support/evaluate.h"
#include "support/fixtures.h"

using namespace octet;
using namespace octet::testing;

namespace {

const char* const models[] = {"tiny-qwen2-tied", "tiny-qwen3", "tiny-qwen2-distill"};
struct Variant {
  Scheme scheme;
  KvCacheType kv_cache;
};
constexpr Variant variants[] = {{Scheme::w8a8, KvCacheType::f16},
                                {Scheme::w8a8_g128, KvCacheType::f16},
                                {Scheme::w8a8, KvCacheType::int16},
                                {Scheme::w8a8, KvCacheType::int8}};

Model open_variant(const char* name, const Variant& variant, int threads, int64_t max_rows = 256) {
  return open_model(fixture(name), variant.scheme, threads, max_rows, variant.kv_cache);
}

}  // namespace

TEST_CASE("the number of threads does not change a bit") {
  for (const char* name : models)
    for (const Variant& variant : variants) {
      CAPTURE(name);
      const Model one = open_variant(name, variant, 1);
      const std::vector<int32_t> ids = some_ids(one, 80, 1);
      const std::vector<float> reference = alone(one, ids);
      for (int threads : {2, 3, 5}) {
        CAPTURE(threads);
        CHECK(same_bits(alone(open_variant(name, variant, threads), ids), reference));
      }
    }
}

TEST_CASE("a model on the host's executor gives the same bits and counts its threads") {
  struct Host {
    std::atomic<int> loops{0};
    static void run(void* self, int count, Executor::Work work, void* context) {
      static_cast<Host*>(self)->loops++;
      std::vector<std::thread> threads;
      for (int i = 1; i < count; ++i) threads.emplace_back(work, context, i);
      work(context, 0);
      for (std::thread& thread : threads) thread.join();
    }
  } host;
  ModelOptions options;
  options.device = Device::cpu();
  options.executor = {Host::run, &host, 3};
  const Model model = Model::open(fixture(models[0]), options);
  CHECK(model.threads() == 3);
  const int before = host.loops;
  const std::vector<int32_t> ids = some_ids(model, 20, 1);
  CHECK(same_bits(alone(model, ids), alone(open_variant(models[0], variants[0], 1), ids)));
  CHECK(host.loops > before);
  options.executor.threads = 0;
  CHECK_THROWS_AS(Model::open(fixture(models[0]), options), Error);
}

TEST_CASE("how a prompt is cut into chunks does not change a bit") {
  for (const char* name : models)
    for (const Variant& variant : variants) {
      CAPTURE(name);
      const Model model = open_variant(name, variant, 2);
      const std::vector<int32_t> ids = some_ids(model, 150, 2);
      const std::vector<float> reference = alone(model, ids);
      for (size_t chunk : {1, 7, 64}) {
        CAPTURE(chunk);
        CHECK(same_bits(alone(model, ids, chunk), reference));
      }
      // The workspace's own limit cuts as well.
      CHECK(same_bits(alone(open_variant(name, variant, 2, 13), ids), reference));
    }
}

TEST_CASE("what else is in the batch does not change a bit") {
  for (const char* name : models)
    for (const Variant& variant : variants) {
      CAPTURE(name);
      const Model model = open_variant(name, variant, 2);
      for (int64_t batch = 1; batch <= 5; ++batch) {
        CAPTURE(batch);
        // Prompts of different lengths, then single tokens of some beside a chunk of another.
        std::vector<Session> sessions;
        std::vector<std::vector<int32_t>> prompts;
        for (int64_t i = 0; i < batch; ++i) {
          sessions.emplace_back(model, SessionOptions{.context = 256});
          prompts.push_back(some_ids(model, 3 + 29 * i, 10 + i));
        }
        std::vector<std::vector<float>> got(static_cast<size_t>(batch));
        for (const auto& [begin, end] : {std::pair{0, 1}, {1, 3}, {3, 200}}) {
          std::vector<StepInput> inputs;
          for (size_t i = 0; i < sessions.size(); ++i) {
            const auto last = std::min<size_t>(static_cast<size_t>(end), prompts[i].size());
            const auto first = std::min<size_t>(static_cast<size_t>(begin), last);
            inputs.push_back({&sessions[i], std::span(prompts[i]).subspan(first, last - first),
                              Session::Rows::all});
          }
          step(inputs, [&](size_t input, int64_t, std::span<const float> logits) {
            got[input].insert(got[input].end(), logits.begin(), logits.end());
          });
        }
        for (size_t i = 0; i < sessions.size(); ++i)
          CHECK(same_bits(got[i], alone(model, prompts[i])));
      }
    }
}

TEST_CASE("a cache that was cut back continues as if it had never been longer") {
  for (const Variant& variant : variants) {
    const Model model = open_variant("tiny-qwen2-tied", variant, 2);
    const std::vector<int32_t> ids = some_ids(model, 100, 3);
    Session session(model, {.context = 256});
    all_logits(session, some_ids(model, 200, 4));
    session.truncate(0);
    all_logits(session, std::span(ids).first(70));
    session.truncate(61);
    const std::vector<float> rest = all_logits(session, std::span(ids).subspan(61));
    const std::vector<float> reference = alone(model, ids);
    CHECK(same_bits(rest,
                    {reference.end() - static_cast<std::ptrdiff_t>(rest.size()), reference.end()}));
  }
}

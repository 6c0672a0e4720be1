// The int8 schemes' logits do not depend on threads, chunks or what else is in the batch: bit for
// bit.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <random>
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

TEST_CASE("a last thread's few rows of a long prompt do not change a bit") {
  // With AMX five parts of 160 rows, of which the last has one.
  for (const Variant& variant : {variants[0], variants[1]}) {
    const Model one = open_variant(models[0], variant, 1);
    const Model eight = open_variant(models[0], variant, 8, 1024);
    const std::vector<int32_t> ids = some_ids(one, 641, 1);
    Session in_chunks(one, {.context = 641}), at_once(eight, {.context = 641});
    CHECK(same_bits(all_logits(at_once, ids), all_logits(in_chunks, ids)));
  }
}

TEST_CASE("a few rows behind a long prompt do not depend on how attention is shared out") {
  // Spans of 512 positions are shared out for up to 16 rows, and fewer rows an item with more
  // threads.
  for (const Variant& variant : variants) {
    CAPTURE(to_string(variant.kv_cache));
    const Model one = open_variant(models[0], variant, 1, 512);
    const std::vector<int32_t> ids = some_ids(one, 1100, 1);
    Session at_once(one, {.context = 1100});
    const std::vector<float> reference = all_logits(at_once, ids);
    for (int threads : {1, 2, 7, 16}) {
      CAPTURE(threads);
      const Model model = open_variant(models[0], variant, threads, 512);
      Session session(model, {.context = 1100});
      std::vector<float> logits = all_logits(session, std::span(ids).first(960));
      size_t begin = 960;
      for (size_t rows : {1, 8, 9, 16, 17, 40, 49}) {
        const std::vector<float> more = all_logits(session, std::span(ids).subspan(begin, rows));
        logits.insert(logits.end(), more.begin(), more.end());
        begin += rows;
      }
      CHECK(same_bits(logits, reference));
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

TEST_CASE("random threads, rows of a step, chunks and batches do not change a bit") {
  std::mt19937 random(20);
  const auto between = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random);
  };
  for (int round = 0; round < 24; ++round) {
    const char* const name = models[between(0, 2)];
    const Variant& variant = variants[between(0, 3)];
    const auto threads = static_cast<int>(between(1, 9));
    const int64_t max_rows = between(0, 1) ? between(1, 40) : between(100, 700);
    CAPTURE(round);
    const Model model = open_variant(name, variant, threads, max_rows);
    const int64_t count = between(1, 4);
    std::vector<Session> sessions;
    std::vector<std::vector<int32_t>> prompts;
    std::vector<std::vector<float>> got(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      prompts.push_back(some_ids(model, between(1, between(0, 1) ? 20 : 400), round * 10 + i));
      sessions.emplace_back(model, SessionOptions{.context = 400});
    }
    for (std::vector<size_t> done(prompts.size());;) {
      std::vector<StepInput> inputs;
      std::vector<size_t> session_of;
      for (size_t i = 0; i < prompts.size(); ++i) {
        const auto left = static_cast<int64_t>(prompts[i].size() - done[i]);
        const auto some = static_cast<size_t>(std::min(left, between(1, between(0, 2) ? 8 : 400)));
        if (some == 0) continue;
        inputs.push_back(
            {&sessions[i], std::span(prompts[i]).subspan(done[i], some), Session::Rows::all});
        session_of.push_back(i);
        done[i] += some;
      }
      if (inputs.empty()) break;
      step(inputs, [&](size_t input, int64_t, std::span<const float> logits) {
        auto& all = got[session_of[input]];
        all.insert(all.end(), logits.begin(), logits.end());
      });
    }
    const Model one = open_variant(name, variant, 1);
    for (size_t i = 0; i < prompts.size(); ++i) {
      Session session(one, {.context = 400});
      CHECK(same_bits(got[i], all_logits(session, prompts[i], 64)));
    }
  }
}

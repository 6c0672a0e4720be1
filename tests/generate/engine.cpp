// The engine: answers as if alone, memory, sharing, order, and ends.
#include <octet/engine.h>
#include <octet/session.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <random>
#include <thread>

#include "lib/model/model_impl.h"
#include "support/text_model.h"

using namespace octet;
using namespace octet::testing;

namespace {

std::vector<int32_t> some_prompt(size_t size, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<int32_t> ids(size);
  for (int32_t& id : ids) id = static_cast<int32_t>(generator() % 256);
  return ids;
}

EngineRequest request(std::vector<int32_t> prompt, int64_t max_tokens, uint64_t seed = 1) {
  EngineRequest made;
  made.prompt = std::move(prompt);
  made.options.max_tokens = max_tokens;
  made.options.sampler.seed = seed;
  made.options.sampler.temperature = 1.0f;
  made.options.sampler.top_k = 20;
  made.options.stop_at_end_tokens = seed % 3 == 0;
  return made;
}

struct Made {
  std::vector<int32_t> ids;
  std::string text;
  GenerateStats stats;
};

Made pull(Generation& generation) {
  Made made;
  for (GenerationPiece piece; generation.next(piece);) {
    made.text += piece.text;
    if (piece.token.id >= 0) made.ids.push_back(piece.token.id);
  }
  made.stats = generation.stats();
  return made;
}

/// The same by a session's logits and a sampler, token by token.
Made alone(const Model& model, const EngineRequest& request, int64_t context) {
  Session session(model, {.context = context});
  Sampler sampler(request.options.sampler);
  Made made;
  const auto vocab = model.config().vocab_size;
  std::vector<int32_t> next = request.prompt;
  while (std::ssize(made.ids) < request.options.max_tokens && session.size() < context - 1) {
    std::vector<float> logits;
    session.evaluate(next, Session::Rows::last, [&](int64_t, std::span<const float> row) {
      logits.assign(row.begin(), row.end());
    });
    if (session.size() >= context) break;
    for (int64_t id = 258; id < vocab; ++id) logits[static_cast<size_t>(id)] = -INFINITY;
    made.ids.push_back(sampler.sample(logits));
    next = {made.ids.back()};
    if (request.options.stop_at_end_tokens && made.ids.back() == 257) break;
  }
  made.text = model.tokenizer().decode(made.ids, {.keep_special = false});
  return made;
}

int64_t blocks_in_use(const Model& model) {
  return model.impl()->kv_pool->blocks_in_use();
}

}  // namespace

TEST_CASE("requests that run together get the answers that each gets alone") {
  for (const EngineOptions& options : {EngineOptions{.context = 300, .prompt_rows = 5},
                                       EngineOptions{.context = 300, .prompt_rows = 64},
                                       EngineOptions{.context = 300, .steady = true}}) {
    Engine engine(text_model(), options);
    std::vector<EngineRequest> requests;
    std::vector<Generation> generations;
    for (uint32_t i = 0; i < 8; ++i) {
      requests.push_back(request(some_prompt(1 + 23 * i, i), 10 + 7 * i, i));
      // Of the best 20 logits; with top_p or min_p of the best 64, or all where these do not
      // suffice.
      SamplerOptions& sampler = requests.back().options.sampler;
      if (i % 4 == 1) sampler = {.temperature = 1, .top_k = 0, .top_p = 0.95f, .seed = i};
      if (i % 4 == 2) sampler = {.temperature = 0.3f, .top_k = 0, .min_p = 0.1f, .seed = i};
      generations.push_back(engine.submit(requests.back()));
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      CAPTURE(i);
      const Made expected = alone(text_model(), requests[i], 300), got = pull(generations[i]);
      CHECK(got.ids == expected.ids);
      CHECK(got.text == expected.text);
      CHECK(got.stats.generated_tokens == std::ssize(expected.ids));
    }
    CHECK(engine.stats().pages_used == 0);
  }
}

TEST_CASE("many requests of many clients, some of them given up, in little memory") {
  const Model& model = text_model();
  const int64_t before = blocks_in_use(model);
  {
    // Memory for about five of the longest; 200 requests from 16 threads.
    EngineOptions options{.context = 400, .max_running = 8, .max_waiting = 1000, .prompt_rows = 24};
    options.kv_bytes = 32 * model.impl()->kv_pool->layout().block_bytes;
    Engine engine(model, options);
    const std::vector<int32_t> common = some_prompt(130, 99);
    std::atomic<int> wrong{0}, compared{0}, cancelled{0};
    std::vector<std::thread> clients;
    for (uint32_t c = 0; c < 16; ++c)
      clients.emplace_back([&, c] {
        std::mt19937 random(c);
        for (uint32_t i = 0; i < 13; ++i) {
          std::vector<int32_t> prompt = some_prompt(1 + random() % 250, 100 * c + i);
          if (i % 3 == 0)
            std::copy(common.begin(), common.end(), (prompt.resize(160), prompt.begin()));
          EngineRequest asked = request(std::move(prompt), 1 + random() % 60, 16 * i + c);
          asked.client = std::to_string(c % 5);
          asked.priority = static_cast<int>(c % 3);
          Generation generation = engine.submit(asked);
          if (i % 4 == 1) {
            GenerationPiece piece;
            for (uint32_t n = random() % 5; n > 0; --n) generation.next(piece);
            if (i % 8 == 1) generation.cancel();
            ++cancelled;
            continue;  // the last copy goes: cancelled too
          }
          const Made got = pull(generation), expected = alone(model, asked, 400);
          wrong += got.ids != expected.ids || got.text != expected.text;
          ++compared;
        }
      });
    for (std::thread& client : clients) client.join();
    CHECK(wrong == 0);
    CHECK(compared + cancelled == 208);
    CHECK(engine.drain(60));
    const EngineStats stats = engine.stats();
    CHECK(stats.pages_used == 0);
    CHECK(stats.pages_cached <= 32);
    CHECK(stats.submitted == 208);
    CHECK(stats.finished == 208);
    CHECK(stats.failed == 0);
    CHECK(stats.cached_tokens > 0);
    CHECK(blocks_in_use(model) == before + stats.pages_cached);
  }
  CHECK(blocks_in_use(model) == before);
}

TEST_CASE(
    "a prompt that begins like an earlier one is not evaluated again, and shares its memory") {
  const std::vector<int32_t> system = some_prompt(320, 5);
  const auto asked = [&](uint32_t seed) {
    std::vector<int32_t> prompt = system;
    const std::vector<int32_t> rest = some_prompt(20, seed);
    prompt.insert(prompt.end(), rest.begin(), rest.end());
    return request(std::move(prompt), 30, 3 * seed + 1);
  };
  for (bool reuse : {true, false}) {
    CAPTURE(reuse);
    Engine engine(text_model(), {.context = 512, .prompt_rows = 16, .reuse_prefixes = reuse});
    Generation first = engine.submit(asked(1));
    pull(first);
    CHECK(first.stats().prompt_tokens == 340);
    CHECK(engine.stats().pages_cached == (reuse ? 369 / 64 : 0));
    Generation second = engine.submit(asked(2));
    const Made made = pull(second);
    CHECK(made.stats.cached_tokens == (reuse ? 320 : 0));
    CHECK(made.stats.prompt_tokens == (reuse ? 20 : 340));
    CHECK(made.ids == alone(text_model(), asked(2), 512).ids);
  }
  // Eight at a time: five blocks of the common beginning, and one or two of its own for each.
  Engine engine(text_model(), {.context = 512, .prompt_rows = 16});
  std::vector<Generation> generations;
  for (uint32_t i = 0; i < 8; ++i) {
    EngineRequest one = asked(10 + i);
    one.options.max_tokens = 100;
    one.options.stop_at_end_tokens = false;
    generations.push_back(engine.submit(std::move(one)));
  }
  GenerationPiece piece;
  for (Generation& generation : generations) REQUIRE(generation.next(piece));
  const int64_t used = engine.stats().pages_used;
  CHECK(used >= 5 + 8);
  CHECK(used <= 5 + 2 * 8);
  for (Generation& generation : generations) pull(generation);
  CHECK(engine.stats().cached_tokens == 7 * 320);
  CHECK(engine.stats().prompt_tokens == 320 + 8 * 20);
}

TEST_CASE("kept prefixes give way when the memory is needed, the least recently used first") {
  EngineOptions options{.context = 256};
  options.kv_bytes = 8 * text_model().impl()->kv_pool->layout().block_bytes;
  Engine engine(text_model(), options);
  const auto run = [&](uint32_t seed) {
    Generation generation = engine.submit(request(some_prompt(150, seed), 1, 1));
    return pull(generation).stats.cached_tokens;
  };
  for (uint32_t seed : {1, 2, 3}) CHECK(run(seed) == 0);  // two full blocks each
  CHECK(engine.stats().pages_cached == 6);
  CHECK(run(1) == 128);
  CHECK(run(4) == 0);  // takes 3 of 8: the end of 2's prefix goes
  CHECK(run(1) == 128);
  CHECK(run(3) == 128);
  CHECK(run(2) < 128);
}

TEST_CASE("what does not fit is refused with both numbers, and a full queue is Busy") {
  EngineOptions options{.context = 512, .max_running = 1, .max_waiting = 2};
  const int64_t block = text_model().impl()->kv_pool->layout().block_bytes;
  options.kv_bytes = 4 * block;
  Engine engine(text_model(), options);
  const auto fails = [&](EngineRequest asked, ErrorCode code, const std::string& message) {
    try {
      engine.submit(std::move(asked));
      FAIL("no error");
    } catch (const Error& error) {
      CHECK(error.code() == code);
      CHECK(std::string(error.what()).find(message) != std::string::npos);
    }
  };
  fails(request({}, 1), ErrorCode::InvalidArgument, "the prompt is empty");
  fails(request(some_prompt(512, 1), 1), ErrorCode::InvalidArgument,
        "the prompt has 512 tokens, the context holds 512");
  fails(request({1, 5000}, 1), ErrorCode::InvalidArgument, "token id 5000 is outside");
  fails(request(some_prompt(200, 1), 57), ErrorCode::OutOfMemory,
        "a request of 257 positions needs " + std::to_string(5 * block) +
            " bytes of KV cache, the engine has " + std::to_string(4 * block));
  EngineRequest bad = request({1}, 1);
  bad.options.sampler.temperature = -1;
  fails(bad, ErrorCode::InvalidArgument, "temperature");

  EngineRequest endless = request({1, 2, 3}, 250, 1);
  Generation running = engine.submit(endless);
  GenerationPiece piece;
  REQUIRE(running.next(piece));
  Generation waiting[] = {engine.submit(endless), engine.submit(endless)};
  fails(endless, ErrorCode::Busy, "2 requests wait, at most 2 may");
  CHECK(engine.stats().refused == 1);
  // With patience there will be a place.
  Generation patient = engine.submit(request({1}, 1), 60);
  CHECK(pull(patient).ids.size() == 1);
  for (Generation& generation : waiting) CHECK(pull(generation).ids.size() == 250);
  CHECK(engine.drain(60));
  fails(endless, ErrorCode::Busy, "takes no more requests");
}

TEST_CASE("a request ends at its deadline, when it is cancelled, and with its engine") {
  auto engine =
      std::make_unique<Engine>(text_model(), EngineOptions{.context = 2000, .max_running = 2});
  EngineRequest asked = request({1, 2, 3}, 1900, 1);
  GenerationPiece piece;
  Generation stays = engine->submit(asked);
  REQUIRE(stays.next(piece));
  SUBCASE("deadline, running and waiting") {
    asked.deadline_seconds = 0.05;
    Generation late = engine->submit(asked), later = engine->submit(asked);
    CHECK(pull(late).stats.stop == StopReason::deadline);
    CHECK(pull(later).stats.stop == StopReason::deadline);
    CHECK(engine->stats().deadlines_missed == 2);
  }
  SUBCASE("cancelled by its generation, and by its token") {
    Generation one = engine->submit(asked);
    REQUIRE(one.next(piece));
    one.cancel();
    CHECK(pull(one).stats.stop == StopReason::cancelled);
    asked.options.cancel = CancelToken::make();
    Generation two = engine->submit(asked);
    REQUIRE(two.next(piece));
    asked.options.cancel.cancel();
    CHECK(pull(two).stats.stop == StopReason::cancelled);
  }
  SUBCASE("the engine goes") {
    Generation waits = engine->submit(asked);
    engine.reset();
    CHECK(pull(waits).stats.stop == StopReason::cancelled);
  }
  stays.cancel();
  CHECK(pull(stays).stats.stop == StopReason::cancelled);
}

TEST_CASE("higher priority starts first, and clients take turns") {
  Engine engine(text_model(), {.context = 600, .max_running = 1});
  EngineRequest blocker = request({7}, 500, 1);
  Generation first = engine.submit(blocker);
  GenerationPiece piece;
  REQUIRE(first.next(piece));
  std::vector<Generation> generations;
  std::vector<std::string> names;
  const auto submit = [&](const char* client, int priority) {
    EngineRequest asked = request(some_prompt(10, static_cast<uint32_t>(names.size())), 10, 1);
    asked.client = client;
    asked.priority = priority;
    names.push_back(client + std::to_string(priority));
    generations.push_back(engine.submit(std::move(asked)));
  };
  for (int i = 0; i < 3; ++i) submit("a", 0);  // three of one client, then one each of two others
  submit("b", 0);
  submit("c", 0);
  submit("a", 1);
  first.cancel();
  std::vector<std::pair<double, std::string>> order;
  for (size_t i = 0; i < generations.size(); ++i)
    order.emplace_back(pull(generations[i]).stats.first_token_seconds, names[i]);
  std::sort(order.begin(), order.end());
  std::string started;
  for (const auto& [seconds, name] : order) started += name + " ";
  CHECK(started == "a1 b0 c0 a0 a0 a0 ");
}

TEST_CASE("a request that fails leaves the others as they are") {
  const TextModel own;
  Matrix& embedding = own.model.impl()->weights.embedding;
  const auto* scales = static_cast<const float*>(embedding.scale);
  std::vector<float> damaged(scales, scales + 1024);
  damaged[200] = std::numeric_limits<float>::infinity();
  const EngineRequest good = request(some_prompt(40, 3), 40, 1);
  std::vector<int32_t> ids = some_prompt(90, 4);
  for (int32_t& id : ids) id %= 200;
  EngineRequest safe = good;
  for (int32_t& id : safe.prompt) id %= 200;
  safe.options.sampler.top_k = 1;
  const Made expected = alone(own.model, safe, 300);
  REQUIRE(std::find(expected.ids.begin(), expected.ids.end(), 200) == expected.ids.end());
  embedding.scale = damaged.data();
  {
    Engine engine(own.model, {.context = 300});
    Generation first = engine.submit(safe);
    ids.push_back(200);
    Generation second = engine.submit(request(ids, 5, 1)), third = engine.submit(safe);
    CHECK(pull(first).ids == expected.ids);
    CHECK_THROWS_WITH_AS(pull(second),
                         "layer 0, input of q, k, v: a value that is not finite (the weights "
                         "overflow fp32, or are damaged)",
                         Error);
    CHECK(pull(third).ids == expected.ids);
    CHECK(engine.stats().failed == 1);
    CHECK(engine.stats().pages_used == 0);
  }
  embedding.scale = scales;
}

TEST_CASE("an engine and sessions of the same model take turns") {
  Engine engine(text_model(), {.context = 300});
  const EngineRequest asked = request(some_prompt(50, 8), 200, 1);
  Generation generation = engine.submit(asked);
  Session session(text_model(), {.context = 300});
  const EngineRequest other = request(some_prompt(30, 9), 40, 2);
  CHECK(alone(text_model(), other, 300).ids.size() == 40);
  CHECK(pull(generation).ids == alone(text_model(), asked, 300).ids);
}

TEST_CASE("options out of range are refused by name") {
  for (const auto& [options, name] : {std::pair{EngineOptions{.max_running = 0}, "max_running"},
                                      {EngineOptions{.max_waiting = 0}, "max_waiting"},
                                      {EngineOptions{.prompt_seconds = -1}, "prompt_seconds"},
                                      {EngineOptions{.prompt_rows = -1}, "prompt_rows"},
                                      {EngineOptions{.kv_bytes = 100}, "kv_bytes"},
                                      {EngineOptions{.context = -1}, "context"}}) {
    try {
      Engine engine(text_model(), options);
      FAIL("no error");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::InvalidArgument);
      CHECK(std::string(error.what()).find(name) != std::string::npos);
    }
  }
}

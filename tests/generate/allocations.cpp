// A decoded token allocates no memory once the session is warm.
#include <octet/session.h>

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "lib/generate/session_impl.h"
#include "support/fixtures.h"

namespace {
std::atomic<int64_t> allocations{0};
}

// Counts every allocation of this executable; sanitizers bring their own operators.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}
// Not inlined: at -O1 GCC 12 inlines these but not operator new, and warns of a mismatch.
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

using namespace octet;
using namespace octet::testing;

TEST_CASE("decoding and sampling a token does not allocate") {
  constexpr std::pair<Scheme, KvCacheType> variants[] = {
      {Scheme::w8a8, KvCacheType::f16},  {Scheme::w8a8, KvCacheType::int16},
      {Scheme::w8a8, KvCacheType::int8}, {Scheme::w8a8_g128, KvCacheType::f16},
      {Scheme::f16, KvCacheType::f16},   {Scheme::f32, KvCacheType::f16}};
  for (const auto& variant : variants) {
    const Scheme scheme = variant.first;
    const KvCacheType kv_cache = variant.second;
    CAPTURE(to_string(scheme));
    CAPTURE(to_string(kv_cache));
    const Model model = open_model(fixture("tiny-qwen2-tied"), scheme, 2, 256, kv_cache);
    Session session(model, {.context = 300});
    Sampler sampler(SamplerOptions{.temperature = 0.7f, .top_k = 5, .top_p = 0.9f});
    int32_t next = 1;
    const auto make_token = [&] {
      const StepInput input[] = {{&session, std::span(&next, 1)}};
      step(input,
           [&](size_t, int64_t, std::span<const float> logits) { next = sampler.sample(logits); });
    };
    for (int i = 0; i < 20; ++i) make_token();
    const int64_t before = allocations;
    for (int i = 0; i < 200; ++i) make_token();
    CHECK(allocations == before);
  }
}

TEST_CASE("tokens by prompt lookup do not allocate") {
  const Model model = open_model(fixture("tiny-qwen2-tied"), Scheme::w8a8);
  Session session(model, {.context = 500});
  session.impl()->lookup = std::make_unique<Lookup>(model, session.context());
  GenerateOptions options;
  options.sampler.top_k = 0;  // looks at all logits
  Answer answer(model, options, {});
  int32_t next = 1;
  int64_t made = 0;
  const auto make_token = [&] {
    // Mostly a period, so that drafts occur; some guesses are wrong.
    next = static_cast<int32_t>(++made % 23 == 0 ? made : made % 5);
    session.impl()->lookup->advance(session, next, 100, answer);
  };
  // Drafts grow with the share of right guesses: warm is when the longest has been seen.
  while (made < 250) make_token();
  const int64_t before = allocations, drafted = session.stats().drafted_tokens;
  while (made < 400) make_token();
  CHECK(allocations == before);
  CHECK(session.stats().drafted_tokens > drafted + 50);
  CHECK(session.stats().accepted_tokens < session.stats().drafted_tokens);
}
#endif

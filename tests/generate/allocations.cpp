// A decoded token allocates no memory once the session is warm.
#include <octet/session.h>

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>

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
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

using namespace octet;
using namespace octet::testing;

TEST_CASE("decoding and sampling a token does not allocate") {
  for (Scheme scheme : {Scheme::w8a8, Scheme::w8a8_g128, Scheme::f16, Scheme::f32}) {
    CAPTURE(to_string(scheme));
    const Model model = open_model(fixture("tiny-qwen2-tied"), scheme);
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
#endif

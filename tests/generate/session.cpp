#include <octet/session.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "support/evaluate.h"
#include "support/generation.h"
#include "support/text_model.h"

using namespace octet;
using namespace octet::testing;

TEST_CASE("a stream makes the tokens that repeated evaluation would choose") {
  Session session(text_model(), {.context = 256});
  const std::string text = all_text(session.complete("Hello there", greedy(20)));
  // The same by hand: evaluate everything anew for each token.
  const Tokenizer& tokenizer = text_model().tokenizer();
  std::vector<int32_t> ids = tokenizer.encode("Hello there");
  std::vector<int32_t> made;
  for (int i = 0; i < session.stats().generated_tokens; ++i) {
    Session fresh(text_model(), {.context = 256});
    const std::vector<float> logits = all_logits(fresh, ids);
    const float* last = logits.data() + logits.size() - 1024;
    int32_t best = 0;
    for (int32_t id = 0; id < 258; ++id)
      if (last[id] > last[best]) best = id;
    ids.push_back(best);
    made.push_back(best);
  }
  CHECK(text == tokenizer.decode(made, {.keep_special = false}));
  CHECK(session.stats().stop == StopReason::limit);
  CHECK(session.stats().generated_tokens == 20);
}

TEST_CASE("ids without text are never drawn") {
  Session session(text_model(), {.context = 600});
  GenerateOptions options = greedy(300);
  options.stop_at_end_tokens = false;
  options.sampler.temperature = 3.0f;  // nearly uniform
  options.sampler.top_k = 0;
  all_text(session.complete("x", options));
  for (int32_t id : session.tokens()) CHECK(id < 258);
}

TEST_CASE("the best logits of a step are the largest of all, without ids that have no text") {
  const std::vector<int32_t> ids = some_ids(text_model(), 40, 5);
  const std::vector<float> logits = alone(text_model(), ids);
  constexpr size_t vocab = 1024, with_text = 258;
  for (const int64_t count : {1, 3, 64}) {
    Session session(text_model(), {.context = 256});
    const StepInput input[] = {{&session, ids, Session::Rows::all}};
    size_t rows = 0;
    step_top(input, count, [&](size_t, int64_t row, std::span<const TopLogit> best) {
      ++rows;
      const float* of_row = logits.data() + static_cast<size_t>(row) * vocab;
      std::vector<int32_t> order(with_text);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(),
                       [&](int32_t a, int32_t b) { return of_row[a] > of_row[b]; });
      REQUIRE(std::ssize(best) == count);
      for (size_t i = 0; i < best.size(); ++i) {
        CHECK(best[i].id == order[i]);
        CHECK(best[i].logit == of_row[order[i]]);
      }
    });
    CHECK(rows == ids.size());
  }
  Session session(text_model(), {.context = 256});
  const StepInput input[] = {{&session, ids}};
  const auto nothing = [](size_t, int64_t, std::span<const TopLogit>) {};
  CHECK_THROWS_AS(step_top(input, 0, nothing), Error);
  CHECK_THROWS_AS(step_top(input, 65, nothing), Error);
}

TEST_CASE("a turn goes through the chat template, and the next turn continues from the cache") {
  Session session(text_model(), {.context = 1024});
  const std::string first = all_text(session.stream("One", greedy(8)));
  REQUIRE(session.messages().size() == 2);
  CHECK(session.messages()[0].content == "One");
  CHECK(session.messages()[1].role == "assistant");
  CHECK(session.messages()[1].content == first);
  CHECK(session.stats().cached_tokens == 0);
  const std::string start = "<|im_start|>user\nOne<|im_end|>\n<|im_start|>assistant\n";
  CHECK(session.stats().prompt_tokens ==
        static_cast<int64_t>(text_model().tokenizer().encode(start).size()));

  const std::string second = all_text(session.stream("Two", greedy(8)));
  CHECK(session.stats().cached_tokens >=
        static_cast<int64_t>(text_model().tokenizer().encode(start).size()));
  // The same conversation without a cache.
  Session fresh(text_model(), {.context = 1024});
  fresh.set_messages({{"user", "One"}, {"assistant", first}});
  CHECK(all_text(fresh.stream("Two", greedy(8))) == second);
}

TEST_CASE("generation stops at end tokens, stop strings, the limit, the callback") {
  Session session(text_model(), {.context = 512});
  const std::string text = all_text(session.complete("Hello", greedy(40)));
  REQUIRE(text.size() > 6);

  SUBCASE("a stop string, which is not given out, also across pieces") {
    GenerateOptions options = greedy(40);
    const size_t at = 3;
    options.stop = {text.substr(at, 3), "never seen"};
    const std::string cut = all_text(session.complete("Hello", options));
    CHECK(cut == text.substr(0, text.find(options.stop[0])));
    CHECK(session.stats().stop == StopReason::stop_string);
  }
  SUBCASE("held back text comes out when the stop string does not") {
    GenerateOptions options = greedy(40);
    options.stop = {text.substr(text.size() - 2) + "?!"};
    CHECK(all_text(session.complete("Hello", options)) == text);
  }
  SUBCASE("the callback") {
    int pieces = 0;
    const std::string cut =
        session.generate("Hello", greedy(40), [&](std::string_view) { return ++pieces < 2; });
    CHECK(pieces == 2);
    CHECK(session.stats().stop == StopReason::callback);
    REQUIRE(session.messages().size() == 2);
    CHECK(session.messages()[1].content == cut);
  }
  SUBCASE("a limit of zero makes nothing") {
    CHECK(all_text(session.complete("Hello", greedy(0))).empty());
    CHECK(session.stats().generated_tokens == 0);
  }
}

TEST_CASE("a full context ends the answer; a prompt that does not fit is an error") {
  Session session(text_model(), {.context = 16});
  all_text(session.complete("0123456789", greedy(100)));
  CHECK(session.stats().stop == StopReason::context_full);
  CHECK(session.size() <= 16);
  CHECK_THROWS_WITH_AS(session.complete("0123456789abcdefgh", greedy(1)),
                       "the prompt has 18 tokens, the context holds 16 and one more is needed for "
                       "an answer",
                       Error);
  CHECK_THROWS_AS(session.complete("", greedy(1)), Error);
}

TEST_CASE("the same seed gives the same text, another seed another") {
  GenerateOptions options = greedy(60);
  options.sampler.temperature = 1.0f;
  options.sampler.top_k = 50;
  options.sampler.seed = 7;
  Session session(text_model(), {.context = 256});
  const std::string once = all_text(session.complete("Hello", options));
  CHECK(all_text(session.complete("Hello", options)) == once);
  options.sampler.seed = 8;
  CHECK(all_text(session.complete("Hello", options)) != once);
}

TEST_CASE("wrong ids and too many ids are errors, and leave the session as it was") {
  Session session(text_model(), {.context = 8});
  const auto ignore = [](int64_t, std::span<const float>) {};
  const std::vector<int32_t> outside = {1, 1024}, negative = {-1}, many(9, 1), good = {1, 2};
  session.evaluate(good, Session::Rows::none, ignore);
  CHECK_THROWS_AS(session.evaluate(outside, Session::Rows::none, ignore), Error);
  CHECK_THROWS_AS(session.evaluate(negative, Session::Rows::none, ignore), Error);
  CHECK_THROWS_AS(session.evaluate(many, Session::Rows::none, ignore), Error);
  CHECK(session.tokens() == good);
  CHECK_THROWS_AS(Session(text_model(), {.context = int64_t{1} << 40}), Error);
}

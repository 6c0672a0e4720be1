// What sessions do besides answering: fork, files, turns, full contexts, cancelling.
#include <octet/embed.h>
#include <octet/session.h>

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "lib/generate/session_impl.h"
#include "lib/model/model_impl.h"
#include "support/evaluate.h"
#include "support/generation.h"
#include "support/text_model.h"

using namespace octet;
using namespace octet::testing;

namespace {

const Model& short_rows_model() {
  static const TextModel instance({.max_rows = 64});
  return instance.model;
}

std::vector<int32_t> some_ids(int32_t count) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < count; ++i) ids.push_back((i * i * 31 + i * 7) % 256);
  return ids;
}

void evaluate(Session& session, std::span<const int32_t> ids) {
  session.evaluate(ids, Session::Rows::none, [](int64_t, std::span<const float>) {});
}

}  // namespace

TEST_CASE("a fork goes its own way, shares what both have in common, and gives it back") {
  const Model& model = short_rows_model();
  const KvPool& pool = *model.impl()->kv_pool;
  const int64_t before = pool.blocks_in_use();
  const std::vector<int32_t> ids = some_ids(200);
  Session reference(model, {.context = 300});
  evaluate(reference, std::span(ids).first(150));
  const std::vector<float> expected = all_logits(reference, std::span(ids).subspan(150));
  reference.truncate(0);
  {
    Session first(model, {.context = 300});
    evaluate(first, std::span(ids).first(150));
    const int64_t alone = pool.blocks_in_use();
    Session second = first.fork();
    CHECK(second.tokens() == first.tokens());
    CHECK(pool.blocks_in_use() == alone);
    // Other ids in one of them do not reach the other.
    const std::vector<int32_t> other(50, 3);
    const std::vector<float> others = all_logits(second, other);
    CHECK(pool.blocks_in_use() == alone + 2);  // a copy of the half-filled block, and a further one
    CHECK(all_logits(first, std::span(ids).subspan(150)) == expected);
    first.truncate(0);
    second.truncate(150);
    CHECK(all_logits(second, other) == others);
  }
  CHECK(pool.blocks_in_use() == before);
}

TEST_CASE("a saved session continues as the one that was saved") {
  for (KvCacheType kv_cache : {KvCacheType::f16, KvCacheType::int16, KvCacheType::int8}) {
    const TextModel own({.max_rows = 64, .kv_cache = kv_cache});
    const std::string path = own.folder.path("session");
    Session session(own.model, {.context = 400});
    all_text(session.stream("One", greedy(70)));
    session.save(path);
    Session loaded = Session::load(own.model, path, {.context = 400});
    CHECK(loaded.tokens() == session.tokens());
    CHECK(loaded.messages().size() == 2);
    CHECK(loaded.messages()[1].content == session.messages()[1].content);
    const std::string expected = all_text(session.stream("Two", greedy(30)));
    CHECK(all_text(loaded.stream("Two", greedy(30))) == expected);
    CHECK(loaded.stats().cached_tokens == session.stats().cached_tokens);

    Session(own.model, {.context = 64}).save(path);  // an empty one
    CHECK(Session::load(own.model, path, {.context = 64}).size() == 0);
  }
}

TEST_CASE("a session's int16 values beyond those that quantizing makes are refused") {
  const TextModel own({.max_rows = 64, .kv_cache = KvCacheType::int16});
  const std::string path = own.folder.path("session");
  Session session(own.model, {.context = 100});
  evaluate(session, some_ids(10));
  session.save(path);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(-session.impl()->sequence.cache.pool().layout().block_bytes, std::ios::end);
  file.write("\0\x10", 2);  // 4096, the first key's first value
  file.close();
  check_error(ErrorCode::InvalidFile, "out of range",
              [&] { Session::load(own.model, path, {.context = 100}); });
}

TEST_CASE("a session's file is refused by other models, by smaller contexts, and when damaged") {
  const TextModel own({.max_rows = 64}), other({.source = "tiny-qwen3", .max_rows = 64}),
      int8({.max_rows = 64, .kv_cache = KvCacheType::int8});
  const std::string path = own.folder.path("session");
  Session session(own.model, {.context = 400});
  evaluate(session, some_ids(100));
  session.save(path);
  const auto load = [](const Model& model, const std::string& from, int64_t context = 400) {
    return [&model, from, context] { Session::load(model, from, {.context = context}); };
  };
  check_error(ErrorCode::InvalidArgument, "another model", load(other.model, path));
  check_error(ErrorCode::InvalidArgument, "KV cache is f16, the model's is int8",
              load(int8.model, path));
  check_error(ErrorCode::InvalidArgument, "100 tokens, the context holds 99",
              load(own.model, path, 99));
  check_error(ErrorCode::Io, "", load(own.model, path + "x"));

  std::string bytes;
  {
    std::ifstream in(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  const auto damaged = [&](const auto& change) {
    std::string copy = bytes;
    change(copy);
    const std::string file = own.folder.path("damaged");
    std::ofstream(file, std::ios::binary) << copy;
    return load(own.model, file);
  };
  const auto replace = [](const char* from, const char* to) {
    return [=](std::string& copy) { copy.replace(copy.find(from), std::strlen(from), to); };
  };
  check_error(ErrorCode::InvalidFile, "", damaged([](std::string& copy) { copy.pop_back(); }));
  check_error(ErrorCode::InvalidFile, "", damaged([](std::string& copy) { copy.resize(50); }));
  check_error(ErrorCode::Unsupported, "version '2'",
              damaged(replace("\"octet.session\":\"1\"", "\"octet.session\":\"2\"")));
  check_error(ErrorCode::InvalidFile, "octet.session",
              damaged(replace("octet.session", "octet.Session")));
  check_error(ErrorCode::InvalidFile, "octet.context",
              damaged(replace("\"octet.context\":\"400\"", "\"octet.context\":\"4e0\"")));
  const size_t tokens =
      bytes.size() -
      static_cast<size_t>(2 * session.impl()->sequence.cache.pool().layout().block_bytes);
  check_error(ErrorCode::InvalidFile, "not finite", damaged([&](std::string& copy) {
                copy.replace(tokens, 2, "\xff\x7f");  // an fp16 NaN, the first key's first value
              }));
  check_error(ErrorCode::InvalidFile, "token id", damaged([&](std::string& copy) {
                const int32_t first = session.tokens()[1];
                std::string pattern(8, '\0');
                std::memcpy(pattern.data(), session.tokens().data(), 8);
                REQUIRE(first == session.tokens()[1]);
                copy.replace(copy.find(pattern, 100), 4, "\xff\xff\xff\x7f");
              }));
  // Whatever bit flips: an error or a session, never a crash.
  for (size_t at = 0; at < 3000; at += 7) {
    std::string copy = bytes;
    copy[at] = static_cast<char>(copy[at] ^ (1 << at % 8));
    const std::string file = own.folder.path("damaged");
    std::ofstream(file, std::ios::binary) << copy;
    try {
      Session::load(own.model, file, {.context = 400});
    } catch (const Error& error) {
      CHECK(error.code() != ErrorCode::Internal);
    }
  }
}

TEST_CASE("the last turn can be taken back and put in other words") {
  Session session(short_rows_model(), {.context = 500}),
      reference(short_rows_model(), {.context = 500});
  all_text(session.stream("One", greedy(10)));
  all_text(reference.stream("One", greedy(10)));
  all_text(session.stream("Two", greedy(10)));
  const std::string edited = all_text(session.edit_last_turn("Other", greedy(10)));
  CHECK(session.stats().cached_tokens > 20);  // the first turn is not evaluated again
  CHECK(edited == all_text(reference.stream("Other", greedy(10))));
  REQUIRE(session.messages().size() == 4);
  CHECK(session.messages()[2].content == "Other");
  CHECK(session.drop_last_turn());
  CHECK(session.messages().size() == 2);
  CHECK(session.drop_last_turn());
  CHECK(!session.drop_last_turn());
  CHECK_THROWS_AS(session.edit_last_turn("x", greedy(1)), Error);
}

TEST_CASE("a full context is an error, or the oldest turns go and that is told") {
  const auto fill = [](Session& session) {
    session.set_messages({{"system", "Be short."}});
    for (int i = 0; i < 12; ++i) all_text(session.stream("Tell me more about it.", greedy(12)));
  };
  Session strict(short_rows_model(), {.context = 300});
  check_error(ErrorCode::InvalidArgument, "the context holds 300", [&] { fill(strict); });

  Session session(short_rows_model(), {.context = 300, .overflow = Overflow::drop_oldest});
  fill(session);
  CHECK(session.stats().dropped_turns > 0);
  CHECK(session.stats().generated_tokens == 12);
  CHECK(session.messages().size() == 25);  // nothing is forgotten
  const std::string prompt =
      short_rows_model().tokenizer().decode(session.tokens(), {.keep_special = true});
  CHECK(prompt.starts_with("<|im_start|>system\nBe short."));
  const std::string alone(1000, 'x');
  check_error(ErrorCode::InvalidArgument, "the context holds 300",
              [&] { session.stream(alone, greedy(5)); });
}

TEST_CASE("a cancelled prompt leaves the conversation as it was, a cancelled answer ends") {
  Session session(short_rows_model(), {.context = 500});
  GenerateOptions options = greedy(100);
  options.cancel = CancelToken::make();
  options.cancel.cancel();
  check_error(ErrorCode::Cancelled, "cancelled", [&] { session.stream("Hello", options); });
  CHECK(session.messages().empty());

  for (bool lookup : {false, true}) {
    options.cancel = CancelToken::make();
    options.lookup = lookup;
    int pieces = 0;
    for ([[maybe_unused]] std::string_view piece : session.complete("Hello", options))
      if (++pieces == 5) options.cancel.cancel();
    CHECK(session.stats().stop == StopReason::cancelled);
    CHECK(session.stats().generated_tokens < 20);
  }

  // In the middle of a prompt: what is evaluated by then stays.
  const CancelToken cancel = CancelToken::make();
  const std::vector<int32_t> ids = some_ids(200);
  session.truncate(0);
  check_error(ErrorCode::Cancelled, "cancelled", [&] {
    session.evaluate(
        ids, Session::Rows::all,
        [&](int64_t row, std::span<const float>) {
          if (row == 63) cancel.cancel();  // the last of the first batch
        },
        cancel);
  });
  CHECK(session.size() == 64);  // ModelOptions::max_rows here
  Session reference(short_rows_model(), {.context = 500});
  evaluate(reference, ids);
  evaluate(session, std::span(ids).subspan(64));
  CHECK(all_logits(session, some_ids(3)) == all_logits(reference, some_ids(3)));
}

TEST_CASE("an embedding is the normed hidden states' mean, or the last of them") {
  const Model model = open_model(fixture("tiny-qwen2"), Scheme::f32, 2, 16);
  const Expected expected(fixture("tiny-qwen2/expected.safetensors"));
  const ModelConfig& config = model.config();
  for (const std::string& name : expected.names()) {
    if (!name.ends_with(".ids")) continue;
    const std::string prompt = name.substr(0, name.size() - 4);
    const std::string hidden_name = prompt + ".hidden." + std::to_string(config.num_layers);
    if (!expected.contains(hidden_name)) continue;
    const std::vector<int32_t> ids = expected.i32(name);
    const std::vector<float> hidden = expected.f32(hidden_name);
    const auto width = static_cast<size_t>(config.hidden_size);
    std::vector<double> mean(width), last(width);
    for (size_t row = 0; row < ids.size(); ++row) {
      double squares = 0;
      for (size_t i = 0; i < width; ++i)
        squares += double{hidden[row * width + i]} * hidden[row * width + i];
      const double scale = 1 / std::sqrt(squares / double(width) + config.rms_norm_eps);
      for (size_t i = 0; i < width; ++i) {
        last[i] = hidden[row * width + i] * scale * double{model.impl()->weights.final_norm[i]};
        mean[i] += last[i] / double(ids.size());
      }
    }
    const auto check = [&](const std::vector<double>& reference, EmbedOptions::Pooling pooling) {
      double length = 0;
      for (double x : reference) length += x * x;
      const std::vector<float> plain = embed(model, ids, {.pooling = pooling, .normalize = false});
      const std::vector<float> unit = embed(model, ids, {.pooling = pooling});
      for (size_t i = 0; i < width; ++i) {
        CHECK(std::abs(plain[i] - reference[i]) < 2e-3);
        CHECK(std::abs(unit[i] - reference[i] / std::sqrt(length)) < 2e-3);
      }
    };
    check(mean, EmbedOptions::Pooling::mean);
    check(last, EmbedOptions::Pooling::last);
  }
  check_error(ErrorCode::InvalidArgument, "no token ids", [&] { embed(model, {}); });
  const int32_t outside[] = {static_cast<int32_t>(config.vocab_size)};
  check_error(ErrorCode::InvalidArgument, "outside the vocabulary", [&] { embed(model, outside); });
}

// The functions of octet/c.h, one by one: what they give, and what they refuse.
#include <octet/c.h>
#include <octet/session.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <regex>
#include <span>
#include <thread>

#include "support/text_model.h"

using namespace octet;
using namespace octet::testing;

namespace {

struct CModel {
  TempDir folder;
  octet_model* handle = nullptr;

  CModel() {
    make_text_model("tiny-qwen2", folder.path("m"));
    octet_model_options options = {};
    REQUIRE(octet_model_options_init(&options, sizeof options) == OCTET_OK);
    options.threads = 2;
    REQUIRE(octet_model_open(folder.path("m").c_str(), &options, nullptr, nullptr, &handle) ==
            OCTET_OK);
  }
  ~CModel() { octet_model_free(handle); }
};

const octet_model* model() {
  static const CModel instance;
  return instance.handle;
}

octet_session_options session_options(int64_t context) {
  octet_session_options options = {};
  REQUIRE(octet_session_options_init(&options, sizeof options) == OCTET_OK);
  options.context = context;
  return options;
}

struct CSession {
  octet_session* handle = nullptr;
  explicit CSession(int64_t context = 256) {
    const octet_session_options options = session_options(context);
    REQUIRE(octet_session_create(model(), &options, &handle) == OCTET_OK);
  }
  ~CSession() { octet_session_free(handle); }
};

struct CTokenizer {
  octet_tokenizer* handle = nullptr;
  CTokenizer() { REQUIRE(octet_tokenizer_of(model(), &handle) == OCTET_OK); }
  ~CTokenizer() { octet_tokenizer_free(handle); }
};

octet_generate_options greedy(int64_t max_tokens) {
  octet_generate_options options = {};
  REQUIRE(octet_generate_options_init(model(), &options, sizeof options) == OCTET_OK);
  options.temperature = 0;
  options.max_tokens = max_tokens;
  return options;
}

/// Takes a text over.
std::string taken(char* text) {
  const std::string copy = text;
  octet_free(text);
  return copy;
}

std::string complete(octet_session* session, const octet_generate_options& options) {
  char* text = nullptr;
  REQUIRE(octet_session_complete(session, "Hello", &options, nullptr, nullptr, &text) == OCTET_OK);
  return taken(text);
}

/// Checks that a call was refused as InvalidArgument with these words in its message.
void check_refused(octet_status status, const char* words) {
  CHECK(status == OCTET_INVALID_ARGUMENT);
  CAPTURE(octet_last_error());
  CHECK(std::strstr(octet_last_error(), words) != nullptr);
}

}  // namespace

TEST_CASE("statuses have the numbers and names of error codes") {
  for (const auto& [status, code] : {std::pair{OCTET_INVALID_FILE, ErrorCode::InvalidFile},
                                     {OCTET_UNSUPPORTED, ErrorCode::Unsupported},
                                     {OCTET_OUT_OF_MEMORY, ErrorCode::OutOfMemory},
                                     {OCTET_INVALID_ARGUMENT, ErrorCode::InvalidArgument},
                                     {OCTET_CANCELLED, ErrorCode::Cancelled},
                                     {OCTET_DEVICE, ErrorCode::Device},
                                     {OCTET_IO, ErrorCode::Io},
                                     {OCTET_INTERNAL, ErrorCode::Internal},
                                     {OCTET_BUSY, ErrorCode::Busy}}) {
    CHECK(static_cast<int>(status) == static_cast<int>(code));
    CHECK(std::string(octet_status_name(status)) == to_string(code));
  }
  CHECK(std::string(octet_status_name(OCTET_OK)) == "Ok");
  CHECK(std::string(octet_status_name(10)) == "Unknown");
  CHECK(std::strlen(octet_version()) >= 5);
}

TEST_CASE("the last error belongs to its thread, and stays until the next") {
  octet_tokenizer* tokenizer = nullptr;
  CHECK(octet_tokenizer_open("no-such-file", &tokenizer) == OCTET_IO);
  CHECK(tokenizer == nullptr);
  const std::string message = octet_last_error();
  CHECK(message.find("no-such-file") != std::string::npos);
  std::thread([] {
    CHECK(std::string(octet_last_error()).empty());
    CHECK(octet_tokenizer_open(nullptr, nullptr) == OCTET_INVALID_ARGUMENT);
  }).join();
  CHECK(octet_model_vocab_size(model()) == 1024);
  CHECK(octet_last_error() == message);
}

TEST_CASE("a model opens with options, says what it is, and its progress can cancel") {
  CHECK(octet_model_threads(model()) == 2);
  CHECK(std::string(octet_model_scheme(model())) == "w8a8");
  CHECK(std::string(octet_model_device(model())) == "cpu");
  CHECK(std::strlen(octet_model_instruction_set(model())) > 0);
  CHECK(std::strstr(octet_model_chat_template(model()), "<|im_start|>") != nullptr);
  CHECK(octet_model_max_positions(model()) > 0);
  CHECK(octet_model_weight_bytes(model()) > 0);
  CHECK(octet_model_kv_bytes_per_token(model()) > 0);
  size_t count = 0;
  const int32_t* ends = octet_model_end_ids(model(), &count);
  REQUIRE(count == 1);
  CHECK(ends[0] == 257);

  const TempDir folder;
  make_text_model("tiny-qwen2", folder.path("m"));
  octet_model_options options = {};
  REQUIRE(octet_model_options_init(&options, sizeof options) == OCTET_OK);
  octet_model* other = nullptr;
  const auto open = [&](octet_progress_callback progress) {
    return octet_model_open(folder.path("m").c_str(), &options, progress, nullptr, &other);
  };
  CHECK(open([](void*, int64_t, int64_t) { return false; }) == OCTET_CANCELLED);
  options.scheme = "w4";
  check_refused(open(nullptr), "w8a8-g128");
  options.scheme = nullptr;
  check_refused(open(nullptr), "options.scheme is NULL");
  options.scheme = "w8a8-g128";
  options.size = 8;
  check_refused(open(nullptr), "the size of options is 8");
  check_refused(octet_model_options_init(&options, 8), "the size of options is 8");
  CHECK(other == nullptr);
  options.size = sizeof options;
  REQUIRE(open(nullptr) == OCTET_OK);
  CHECK(std::string(octet_model_scheme(other)) == "w8a8-g128");
  octet_model_free(other);
}

TEST_CASE("a damaged file is an error with its code") {
  const TempDir folder;
  std::ofstream(folder.path("bad.safetensors")) << "not a model";
  octet_model* other = nullptr;
  CHECK(octet_model_open(folder.path("bad.safetensors").c_str(), nullptr, nullptr, nullptr,
                         &other) == OCTET_INVALID_FILE);
  CHECK(other == nullptr);
}

TEST_CASE("text becomes ids and ids text, with zero bytes in it too") {
  const CTokenizer tokenizer;
  const std::string text("a\0b<|im_end|>", 13);
  int32_t* ids = nullptr;
  size_t count = 0;
  REQUIRE(octet_tokenizer_encode(tokenizer.handle, text.data(), text.size(), false, true, &ids,
                                 &count) == OCTET_OK);
  CHECK(count == 4);
  CHECK(ids[3] == 257);
  char* decoded = nullptr;
  size_t length = 0;
  REQUIRE(octet_tokenizer_decode(tokenizer.handle, ids, count, true, &decoded, &length) ==
          OCTET_OK);
  CHECK(std::string(decoded, length) == text);
  CHECK(decoded[length] == '\0');
  octet_free(decoded);
  REQUIRE(octet_tokenizer_decode(tokenizer.handle, ids, count, false, &decoded, &length) ==
          OCTET_OK);
  CHECK(length == 3);
  octet_free(decoded);
  octet_free(ids);

  REQUIRE(octet_tokenizer_encode(tokenizer.handle, "<|im_end|>", 10, false, false, &ids, &count) ==
          OCTET_OK);
  CHECK(count == 10);
  octet_free(ids);
  REQUIRE(octet_tokenizer_encode(tokenizer.handle, nullptr, 0, false, false, &ids, &count) ==
          OCTET_OK);
  CHECK(count == 0);
  octet_free(ids);

  CHECK(octet_tokenizer_size(tokenizer.handle) == 258);
  CHECK(octet_tokenizer_bos_id(tokenizer.handle) == -1);
  CHECK(octet_tokenizer_find(tokenizer.handle, "<|im_start|>") == 256);
  CHECK(octet_tokenizer_find(tokenizer.handle, "<|no_such|>") == -1);
  check_refused(octet_tokenizer_encode(tokenizer.handle, "\xff", 1, false, true, &ids, &count),
                "UTF-8");
  const int32_t negative = -1;
  check_refused(octet_tokenizer_decode(tokenizer.handle, &negative, 1, true, &decoded, nullptr),
                "-1");
}

TEST_CASE("the chat template is filled") {
  const octet_message messages[] = {{"system", "Be brief."}, {"user", "Hi"}};
  char* text = nullptr;
  size_t length = 0;
  REQUIRE(octet_render_chat(model(), messages, 2, true, &text, &length) == OCTET_OK);
  CHECK(length == std::strlen(text));
  CHECK(taken(text) ==
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n");
  const octet_message broken = {"user", nullptr};
  check_refused(octet_render_chat(model(), &broken, 1, true, &text, nullptr),
                "messages.content is NULL");
  check_refused(octet_render_chat(model(), nullptr, 1, true, &text, nullptr), "messages is NULL");
}

TEST_CASE("a generation streams, stops when its callback says so, and keeps the conversation") {
  const CSession session;
  const octet_generate_options options = greedy(12);
  int pieces = 0;
  const auto two = [](void* context, const char*, size_t length, bool) {
    return length > 0 && ++*static_cast<int*>(context) < 2;
  };
  char* text = nullptr;
  REQUIRE(octet_session_generate(session.handle, "One", &options, two, &pieces, &text) == OCTET_OK);
  CHECK(pieces == 2);
  octet_generate_stats stats = {};
  REQUIRE(octet_session_stats(session.handle, &stats, sizeof stats) == OCTET_OK);
  CHECK(stats.stop == OCTET_STOP_CALLBACK);
  check_refused(octet_session_stats(session.handle, &stats, 1), "the size of stats is 1");

  REQUIRE(octet_session_message_count(session.handle) == 2);
  octet_message message = {};
  REQUIRE(octet_session_message(session.handle, 1, &message) == OCTET_OK);
  CHECK(std::string(message.role) == "assistant");
  CHECK(message.content == taken(text));
  check_refused(octet_session_message(session.handle, 2, &message), "2");

  const octet_message other[] = {{"user", "A"}, {"assistant", "B"}};
  REQUIRE(octet_session_set_messages(session.handle, other, 2) == OCTET_OK);
  REQUIRE(octet_session_generate(session.handle, "C", &options, nullptr, nullptr, nullptr) ==
          OCTET_OK);
  CHECK(octet_session_message_count(session.handle) == 4);
  REQUIRE(octet_session_stats(session.handle, &stats, sizeof stats) == OCTET_OK);
  CHECK(stats.cached_tokens > 0);
  CHECK(stats.stop != OCTET_STOP_CALLBACK);
}

TEST_CASE("what a callback throws becomes an error, and the session goes on") {
  const CSession session;
  const octet_generate_options options = greedy(8);
  const std::string text = complete(session.handle, options);
  const auto throws = [](void*, const char*, size_t, bool) -> bool { throw 1; };
  CHECK(octet_session_complete(session.handle, "Hello", &options, throws, nullptr, nullptr) ==
        OCTET_INTERNAL);
  CHECK(complete(session.handle, options) == text);
}

TEST_CASE("every generation option arrives") {
  const CSession session(600);
  octet_generate_options options = greedy(40);
  const std::string text = complete(session.handle, options);
  REQUIRE(text.size() > 6);

  const auto changed = [&](auto change) {
    octet_generate_options other = options;
    change(other);
    return complete(session.handle, other);
  };
  CHECK(changed([](auto& o) { o.max_tokens = 3; }).size() < text.size());
  const std::string part = text.substr(3, 3);
  const char* stops[] = {part.c_str()};
  CHECK(changed([&](auto& o) { o.stop = stops, o.stop_count = 1; }) ==
        text.substr(0, text.find(part)));
  CHECK(changed([](auto& o) { o.repetition_penalty = 5; }) != text);
  CHECK(changed([](auto& o) { o.presence_penalty = 50; }) != text);
  CHECK(changed([](auto& o) { o.frequency_penalty = 50; }) != text);
  CHECK(changed([](auto& o) { o.lookup = false; }) == text);

  options.temperature = 3;
  options.top_k = 0;
  options.stop_at_end_tokens = false;
  const std::string drawn = complete(session.handle, options);
  CHECK(drawn != text);
  CHECK(changed([](auto& o) { o.seed = 1; }) != drawn);
  CHECK(changed([](auto& o) { o.top_k = 1; }) == changed([](auto& o) { o.top_p = 1e-6f; }));
  CHECK(changed([](auto& o) { o.top_k = 1; }) == changed([](auto& o) { o.min_p = 1; }));

  octet_generate_options wrong = options;
  wrong.top_p = 2;
  check_refused(octet_session_complete(session.handle, "Hello", &wrong, nullptr, nullptr, nullptr),
                "top_p");
  check_refused(octet_generate_options_init(model(), &wrong, 1), "the size of options is 1");
  wrong = options;
  wrong.stop_count = 1;
  check_refused(octet_session_complete(session.handle, "Hello", &wrong, nullptr, nullptr, nullptr),
                "options.stop is NULL");
}

TEST_CASE("ids are evaluated, cut off and listed") {
  const CSession session(8);
  CHECK(octet_session_context(session.handle) == 8);
  const int32_t ids[] = {1, 2, 3};
  int64_t rows = 0;
  const auto count_rows = [](void* context, int64_t, const float*, int64_t vocab_size) {
    *static_cast<int64_t*>(context) += vocab_size / 1024;
  };
  REQUIRE(octet_session_evaluate(session.handle, ids, 3, OCTET_ROWS_ALL, count_rows, &rows,
                                 nullptr) == OCTET_OK);
  CHECK(rows == 3);
  REQUIRE(octet_session_evaluate(session.handle, ids, 2, OCTET_ROWS_LAST, count_rows, &rows,
                                 nullptr) == OCTET_OK);
  CHECK(rows == 4);
  REQUIRE(octet_session_evaluate(session.handle, ids, 1, OCTET_ROWS_NONE, nullptr, nullptr,
                                 nullptr) == OCTET_OK);
  REQUIRE(octet_session_truncate(session.handle, 5) == OCTET_OK);
  size_t count = 0;
  const int32_t* tokens = octet_session_tokens(session.handle, &count);
  CHECK(std::vector<int32_t>(tokens, tokens + count) == std::vector<int32_t>{1, 2, 3, 1, 2});

  check_refused(octet_session_truncate(session.handle, 6), "6");
  check_refused(
      octet_session_evaluate(session.handle, ids, 1, OCTET_ROWS_LAST, nullptr, nullptr, nullptr),
      "on_logits is NULL");
  check_refused(octet_session_evaluate(session.handle, ids, 1, 7, count_rows, &rows, nullptr),
                "rows is 7");
  const int32_t outside = 1024;
  check_refused(octet_session_evaluate(session.handle, &outside, 1, OCTET_ROWS_NONE, nullptr,
                                       nullptr, nullptr),
                "1024");
  octet_session* huge = nullptr;
  const octet_session_options options = session_options(int64_t{1} << 40);
  check_refused(octet_session_create(model(), &options, &huge), "1099511627776");
  CHECK(huge == nullptr);
}

TEST_CASE("a session is forked, saved, loaded and cut back by a turn") {
  const CSession session;
  const octet_generate_options options = greedy(8);
  const auto generate = [&](octet_session* target, const char* user) {
    char* text = nullptr;
    REQUIRE(octet_session_generate(target, user, &options, nullptr, nullptr, &text) == OCTET_OK);
    return taken(text);
  };
  generate(session.handle, "One");
  const TempDir folder;
  const std::string file = folder.path("saved");
  REQUIRE(octet_session_save(session.handle, file.c_str()) == OCTET_OK);
  CSession fork(1), loaded(1);
  octet_session_free(fork.handle);
  octet_session_free(loaded.handle);
  REQUIRE(octet_session_fork(session.handle, &fork.handle) == OCTET_OK);
  const octet_session_options larger = session_options(300);
  REQUIRE(octet_session_load(model(), file.c_str(), &larger, &loaded.handle) == OCTET_OK);
  CHECK(octet_session_context(loaded.handle) == 300);

  const std::string two = generate(session.handle, "Two");
  CHECK(octet_session_message_count(fork.handle) == 2);
  CHECK(generate(fork.handle, "Two") == two);
  CHECK(generate(loaded.handle, "Two") == two);

  bool dropped = false;
  REQUIRE(octet_session_drop_last_turn(session.handle, &dropped) == OCTET_OK);
  CHECK(dropped);
  CHECK(octet_session_message_count(session.handle) == 2);
  REQUIRE(octet_session_drop_last_turn(session.handle, nullptr) == OCTET_OK);
  REQUIRE(octet_session_drop_last_turn(session.handle, &dropped) == OCTET_OK);
  CHECK_FALSE(dropped);

  octet_session* none = nullptr;
  CHECK(octet_session_load(model(), folder.path("none").c_str(), nullptr, &none) == OCTET_IO);
  std::ofstream(file) << "damaged";
  CHECK(octet_session_load(model(), file.c_str(), nullptr, &none) == OCTET_INVALID_FILE);
  CHECK(octet_session_save(session.handle, "/no/such/folder") == OCTET_IO);
  CHECK(none == nullptr);
}

TEST_CASE("a conversation that does not fit is an error, or loses its oldest turns") {
  const octet_message turns[] = {{"user", "A first question, which is long."},
                                 {"assistant", "Yes."},
                                 {"user", "B"},
                                 {"assistant", "C"}};
  octet_generate_options options = greedy(1);
  for (const bool drop : {false, true}) {
    octet_session_options wanted = session_options(100);
    wanted.drop_oldest = drop;
    CSession session;
    octet_session_free(session.handle);
    REQUIRE(octet_session_create(model(), &wanted, &session.handle) == OCTET_OK);
    REQUIRE(octet_session_set_messages(session.handle, turns, 4) == OCTET_OK);
    const octet_status status =
        octet_session_generate(session.handle, "D", &options, nullptr, nullptr, nullptr);
    CHECK(status == (drop ? OCTET_OK : OCTET_INVALID_ARGUMENT));
    octet_generate_stats stats = {};
    REQUIRE(octet_session_stats(session.handle, &stats, sizeof stats) == OCTET_OK);
    CHECK(stats.dropped_turns == (drop ? 1 : 0));
  }
}

TEST_CASE("a cancelled token ends a prompt, an evaluation and an embedding") {
  const CSession session;
  octet_cancel_token* cancel = nullptr;
  REQUIRE(octet_cancel_token_create(&cancel) == OCTET_OK);
  octet_generate_options options = greedy(8);
  options.cancel = cancel;
  CHECK(!complete(session.handle, options).empty());
  octet_cancel_token_cancel(cancel);
  CHECK(octet_session_complete(session.handle, "Other", &options, nullptr, nullptr, nullptr) ==
        OCTET_CANCELLED);
  const int32_t id = 1;
  CHECK(octet_session_evaluate(session.handle, &id, 1, OCTET_ROWS_NONE, nullptr, nullptr, cancel) ==
        OCTET_CANCELLED);
  float* vector = nullptr;
  size_t size = 0;
  CHECK(octet_embed(model(), &id, 1, OCTET_POOLING_MEAN, true, cancel, &vector, &size) ==
        OCTET_CANCELLED);
  octet_cancel_token_free(cancel);
}

TEST_CASE("log-probabilities of tokens are told when they are asked for") {
  const CSession session;
  octet_generate_options options = greedy(5);
  complete(session.handle, options);
  const octet_token* tokens = nullptr;
  size_t count = 7;
  REQUIRE(octet_session_generated(session.handle, &tokens, &count) == OCTET_OK);
  CHECK(count == 0);
  options.logprobs = 3;
  complete(session.handle, options);
  REQUIRE(octet_session_generated(session.handle, &tokens, &count) == OCTET_OK);
  REQUIRE(count == 5);
  for (const octet_token& token : std::span(tokens, count)) {
    REQUIRE(token.top_count == 3);
    CHECK(token.top[0].logprob >= token.top[1].logprob);
    CHECK(token.top[1].logprob >= token.top[2].logprob);
    CHECK(token.logprob <= token.top[0].logprob);
    CHECK(token.logprob < 0);
    CHECK_FALSE(token.forced);
  }
  CHECK(std::string(octet_session_reasoning(session.handle)).empty());
}

TEST_CASE("an answer fulfils its constraint") {
  const CSession session;
  octet_constraint* constraint = nullptr;
  REQUIRE(octet_constraint_regex("[0-9]{4}-[a-c]+", &constraint) == OCTET_OK);
  octet_generate_options options = greedy(12);
  options.constraint = constraint;
  const std::string text = complete(session.handle, options);
  CHECK(std::regex_match(text, std::regex("[0-9]{4}-[a-c]+")));
  octet_constraint_free(constraint);
  REQUIRE(octet_constraint_json_schema(R"({"enum": ["yes", "no"]})", &constraint) == OCTET_OK);
  options.constraint = constraint;
  const std::string json = complete(session.handle, options);
  const bool known = json == "\"yes\"" || json == "\"no\"";
  CHECK_MESSAGE(known, json);
  octet_constraint_free(constraint);
  REQUIRE(octet_constraint_json_schema(R"({"type": "integer"})", &constraint) == OCTET_OK);
  options.constraint = constraint;
  options.max_tokens = 30;
  CHECK(std::regex_match(complete(session.handle, options), std::regex("-?(0|[1-9][0-9]*)")));
  octet_constraint_free(constraint);

  constraint = nullptr;
  check_refused(octet_constraint_regex("(", &constraint), "");
  check_refused(octet_constraint_json_schema("{", &constraint), "");
  CHECK(octet_constraint_json_schema(R"({"not": {}})", &constraint) == OCTET_UNSUPPORTED);
  check_refused(octet_constraint_json_schema(nullptr, &constraint), "schema is NULL");
  check_refused(octet_constraint_regex("a", nullptr), "constraint is NULL");
  CHECK(constraint == nullptr);
  octet_constraint_free(nullptr);
}

TEST_CASE("an embedding has the hidden size and, normalized, length 1") {
  const int32_t ids[] = {1, 2, 3};
  float* vector = nullptr;
  size_t size = 0;
  const auto squares = [&](octet_pooling pooling, bool normalize) {
    REQUIRE(octet_embed(model(), ids, 3, pooling, normalize, nullptr, &vector, &size) == OCTET_OK);
    double sum = 0;
    for (size_t i = 0; i < size; ++i) sum += double{vector[i]} * vector[i];
    octet_free(vector);
    return sum;
  };
  CHECK(squares(OCTET_POOLING_MEAN, true) == doctest::Approx(1));
  CHECK(squares(OCTET_POOLING_LAST, true) == doctest::Approx(1));
  CHECK(squares(OCTET_POOLING_MEAN, false) != doctest::Approx(1));
  CHECK(size > 0);
  check_refused(octet_embed(model(), ids, 3, 5, true, nullptr, &vector, &size), "pooling is 5");
  check_refused(octet_embed(model(), ids, 0, OCTET_POOLING_MEAN, true, nullptr, &vector, &size),
                "");
}

TEST_CASE("a chat prompt as ids spells what users wrote as plain text") {
  const CTokenizer tokenizer;
  const octet_message message = {"user", "<|im_end|>"};
  int32_t* ids = nullptr;
  size_t count = 0;
  REQUIRE(octet_encode_chat(model(), &message, 1, true, &ids, &count) == OCTET_OK);
  char* text = nullptr;
  REQUIRE(octet_tokenizer_decode(tokenizer.handle, ids, count, true, &text, nullptr) == OCTET_OK);
  CHECK(taken(text) == "<|im_start|>user\n<|im_end|><|im_end|>\n<|im_start|>assistant\n");
  CHECK(std::count(ids, ids + count, 257) == 1);
  octet_free(ids);
}

namespace {

struct CEngine {
  octet_engine* handle = nullptr;
  explicit CEngine(octet_engine_options options) {
    REQUIRE(octet_engine_create(model(), &options, &handle) == OCTET_OK);
  }
  ~CEngine() { octet_engine_free(handle); }
};

octet_engine_options engine_options() {
  octet_engine_options options = {};
  REQUIRE(octet_engine_options_init(&options, sizeof options) == OCTET_OK);
  options.context = 256;
  return options;
}

std::vector<int32_t> hello_ids() {
  const CTokenizer tokenizer;
  int32_t* ids = nullptr;
  size_t count = 0;
  REQUIRE(octet_tokenizer_encode(tokenizer.handle, "Hello", 5, false, true, &ids, &count) ==
          OCTET_OK);
  const std::vector<int32_t> copy(ids, ids + count);
  octet_free(ids);
  return copy;
}

octet_status submit(octet_engine* engine, const octet_generate_options& options,
                    octet_generation** generation) {
  const std::vector<int32_t> prompt = hello_ids();
  octet_request request = {};
  REQUIRE(octet_request_init(&request, sizeof request) == OCTET_OK);
  request.prompt = prompt.data();
  request.prompt_count = prompt.size();
  request.options = &options;
  request.client = "tests";
  return octet_engine_submit(engine, &request, 0, generation);
}

}  // namespace

TEST_CASE("an engine answers requests as a session does, and counts them") {
  const CSession session;
  octet_generate_options options = greedy(12);
  options.logprobs = 2;
  const std::string expected = complete(session.handle, options);

  const CEngine engine(engine_options());
  octet_generation* generations[3] = {};
  for (octet_generation*& generation : generations)
    REQUIRE(submit(engine.handle, options, &generation) == OCTET_OK);
  for (octet_generation* generation : generations) {
    std::string text;
    octet_piece piece = {};
    octet_poll poll = OCTET_POLL_PIECE;
    size_t tokens = 0;
    while (octet_generation_next(generation, -1, &poll, &piece) == OCTET_OK &&
           poll == OCTET_POLL_PIECE) {
      text.append(piece.text, piece.length);
      tokens += piece.token.id >= 0 && piece.token.top_count == 2;
    }
    CHECK(poll == OCTET_POLL_END);
    CHECK(text == expected);
    octet_generate_stats stats = {};
    REQUIRE(octet_generation_stats(generation, &stats, sizeof stats) == OCTET_OK);
    CHECK(stats.generated_tokens == static_cast<int64_t>(tokens));
    octet_generation_free(generation);
  }
  bool ended = false;
  REQUIRE(octet_engine_drain(engine.handle, 60, &ended) == OCTET_OK);
  CHECK(ended);
  octet_engine_counters counters = {};
  REQUIRE(octet_engine_stats(engine.handle, &counters, sizeof counters) == OCTET_OK);
  CHECK(counters.submitted == 3);
  CHECK(counters.finished == 3);
  CHECK(counters.steps > 0);
  octet_generation* refused = nullptr;
  CHECK(submit(engine.handle, options, &refused) == OCTET_BUSY);
  CHECK(refused == nullptr);
}

TEST_CASE("a generation is cancelled, times out, and outlives its engine") {
  octet_generate_options options = greedy(200);
  options.stop_at_end_tokens = false;
  octet_engine_options one = engine_options();
  one.max_running = 1;
  octet_generation *first = nullptr, *second = nullptr;
  octet_poll poll = OCTET_POLL_END;
  octet_piece piece = {};
  {
    const CEngine engine(one);
    REQUIRE(submit(engine.handle, options, &first) == OCTET_OK);
    REQUIRE(submit(engine.handle, options, &second) == OCTET_OK);
    octet_generation_cancel(second);
    do {
      REQUIRE(octet_generation_next(second, -1, &poll, &piece) == OCTET_OK);
    } while (poll == OCTET_POLL_PIECE);
    octet_generate_stats stats = {};
    REQUIRE(octet_generation_stats(second, &stats, sizeof stats) == OCTET_OK);
    CHECK(stats.stop == OCTET_STOP_CANCELLED);
  }
  do {
    REQUIRE(octet_generation_next(first, 60, &poll, &piece) == OCTET_OK);
  } while (poll == OCTET_POLL_PIECE);
  CHECK(poll == OCTET_POLL_END);
  octet_generation_free(first);
  octet_generation_free(second);
}

TEST_CASE("an engine refuses what does not fit") {
  const CEngine engine(engine_options());
  octet_generation* generation = nullptr;
  octet_request request = {};
  REQUIRE(octet_request_init(&request, sizeof request) == OCTET_OK);
  CHECK(octet_engine_submit(engine.handle, &request, 0, &generation) == OCTET_INVALID_ARGUMENT);
  request.size = 1;
  check_refused(octet_engine_submit(engine.handle, &request, 0, &generation),
                "the size of request is 1");
  octet_engine_options wrong = engine_options();
  wrong.max_running = -1;
  octet_engine* other = nullptr;
  check_refused(octet_engine_create(model(), &wrong, &other), "max_running");
  CHECK(other == nullptr);
  CHECK(generation == nullptr);
}

TEST_CASE("NULL for a handle is refused, or is nothing") {
  octet_session* session = nullptr;
  octet_tokenizer* tokenizer = nullptr;
  char* text = nullptr;
  int32_t* ids = nullptr;
  size_t count = 7;
  octet_generate_stats stats = {};
  octet_generate_options options = {};
  octet_message message = {};
  check_refused(octet_model_options_init(nullptr, sizeof(octet_model_options)), "options is NULL");
  check_refused(octet_model_open("m", nullptr, nullptr, nullptr, nullptr), "model is NULL");
  octet_model* opened = nullptr;
  check_refused(octet_model_open(nullptr, nullptr, nullptr, nullptr, &opened), "path is NULL");
  check_refused(octet_tokenizer_of(nullptr, &tokenizer), "model is NULL");
  check_refused(octet_tokenizer_open("m", nullptr), "tokenizer is NULL");
  check_refused(octet_tokenizer_encode(nullptr, "", 0, false, true, &ids, &count), "tokenizer is");
  check_refused(octet_tokenizer_decode(nullptr, nullptr, 0, true, &text, nullptr), "tokenizer is");
  check_refused(octet_render_chat(nullptr, nullptr, 0, true, &text, nullptr), "model is NULL");
  check_refused(octet_generate_options_init(nullptr, &options, sizeof options), "model is NULL");
  check_refused(octet_session_create(nullptr, nullptr, &session), "model is NULL");
  check_refused(octet_session_create(model(), nullptr, nullptr), "session is NULL");
  check_refused(octet_session_generate(nullptr, "", nullptr, nullptr, nullptr, nullptr),
                "session is NULL");
  check_refused(octet_session_complete(nullptr, "", nullptr, nullptr, nullptr, nullptr),
                "session is NULL");
  check_refused(octet_session_stats(nullptr, &stats, sizeof stats), "session is NULL");
  check_refused(octet_session_set_messages(nullptr, nullptr, 0), "session is NULL");
  check_refused(octet_session_message(nullptr, 0, &message), "session is NULL");
  check_refused(
      octet_session_evaluate(nullptr, nullptr, 0, OCTET_ROWS_NONE, nullptr, nullptr, nullptr),
      "session is NULL");
  check_refused(octet_session_truncate(nullptr, 0), "session is NULL");
  const CSession real;
  check_refused(octet_session_generate(real.handle, nullptr, nullptr, nullptr, nullptr, nullptr),
                "user is NULL");
  check_refused(octet_session_complete(real.handle, nullptr, nullptr, nullptr, nullptr, nullptr),
                "prompt is NULL");

  octet_cancel_token* cancel = nullptr;
  octet_engine* engine = nullptr;
  octet_generation* generation = nullptr;
  octet_engine_counters counters = {};
  octet_poll poll = OCTET_POLL_END;
  octet_piece piece = {};
  float* vector = nullptr;
  const octet_token* tokens = nullptr;
  check_refused(octet_cancel_token_create(nullptr), "token is NULL");
  check_refused(octet_session_options_init(nullptr, sizeof(octet_session_options)), "is NULL");
  check_refused(octet_session_fork(nullptr, &session), "session is NULL");
  check_refused(octet_session_save(nullptr, "m"), "session is NULL");
  check_refused(octet_session_load(nullptr, "m", nullptr, &session), "model is NULL");
  check_refused(octet_session_generated(nullptr, &tokens, &count), "session is NULL");
  check_refused(octet_session_drop_last_turn(nullptr, nullptr), "session is NULL");
  check_refused(octet_encode_chat(nullptr, nullptr, 0, true, &ids, &count), "model is NULL");
  check_refused(octet_embed(nullptr, nullptr, 0, OCTET_POOLING_MEAN, true, cancel, &vector, &count),
                "model is NULL");
  check_refused(octet_engine_options_init(nullptr, sizeof(octet_engine_options)), "is NULL");
  check_refused(octet_engine_create(nullptr, nullptr, &engine), "model is NULL");
  check_refused(octet_request_init(nullptr, sizeof(octet_request)), "request is NULL");
  check_refused(octet_engine_submit(nullptr, nullptr, 0, &generation), "engine is NULL");
  check_refused(octet_generation_next(nullptr, 0, &poll, &piece), "generation is NULL");
  check_refused(octet_generation_stats(nullptr, &stats, sizeof stats), "generation is NULL");
  check_refused(octet_engine_stats(nullptr, &counters, sizeof counters), "engine is NULL");
  check_refused(octet_engine_drain(nullptr, 0, nullptr), "engine is NULL");
  CHECK(octet_session_reasoning(nullptr) == nullptr);

  octet_cancel_token_cancel(nullptr);
  octet_cancel_token_free(nullptr);
  octet_engine_free(nullptr);
  octet_generation_cancel(nullptr);
  octet_generation_free(nullptr);
  octet_model_free(nullptr);
  octet_tokenizer_free(nullptr);
  octet_session_free(nullptr);
  octet_free(nullptr);
  CHECK(octet_model_vocab_size(nullptr) == 0);
  CHECK(octet_model_max_positions(nullptr) == 0);
  CHECK(octet_model_threads(nullptr) == 0);
  CHECK(octet_model_weight_bytes(nullptr) == 0);
  CHECK(octet_model_kv_bytes_per_token(nullptr) == 0);
  CHECK(octet_model_scheme(nullptr) == nullptr);
  CHECK(octet_model_device(nullptr) == nullptr);
  CHECK(octet_model_instruction_set(nullptr) == nullptr);
  CHECK(octet_model_chat_template(nullptr) == nullptr);
  CHECK(octet_model_end_ids(nullptr, &count) == nullptr);
  CHECK(count == 0);
  CHECK(octet_tokenizer_size(nullptr) == 0);
  CHECK(octet_tokenizer_bos_id(nullptr) == -1);
  CHECK(octet_tokenizer_find(nullptr, "a") == -1);
  CHECK(octet_session_message_count(nullptr) == 0);
  CHECK(octet_session_context(nullptr) == 0);
  CHECK(octet_session_tokens(nullptr, nullptr) == nullptr);
}

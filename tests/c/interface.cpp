// The functions of octet/c.h, one by one: what they give, and what they refuse.
#include <octet/c.h>
#include <octet/session.h>

#include <doctest/doctest.h>

#include <cstring>
#include <fstream>
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

struct CSession {
  octet_session* handle = nullptr;
  explicit CSession(int64_t context = 256) {
    REQUIRE(octet_session_create(model(), context, &handle) == OCTET_OK);
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
                                     {OCTET_INTERNAL, ErrorCode::Internal}}) {
    CHECK(static_cast<int>(status) == static_cast<int>(code));
    CHECK(std::string(octet_status_name(status)) == to_string(code));
  }
  CHECK(std::string(octet_status_name(OCTET_OK)) == "Ok");
  CHECK(std::string(octet_status_name(static_cast<octet_status>(9))) == "Unknown");
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
  const auto two = [](void* context, const char*, size_t length) {
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
  const auto throws = [](void*, const char*, size_t) -> bool { throw 1; };
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
  REQUIRE(octet_session_evaluate(session.handle, ids, 3, OCTET_ROWS_ALL, count_rows, &rows) ==
          OCTET_OK);
  CHECK(rows == 3);
  REQUIRE(octet_session_evaluate(session.handle, ids, 2, OCTET_ROWS_LAST, count_rows, &rows) ==
          OCTET_OK);
  CHECK(rows == 4);
  REQUIRE(octet_session_evaluate(session.handle, ids, 1, OCTET_ROWS_NONE, nullptr, nullptr) ==
          OCTET_OK);
  REQUIRE(octet_session_truncate(session.handle, 5) == OCTET_OK);
  size_t count = 0;
  const int32_t* tokens = octet_session_tokens(session.handle, &count);
  CHECK(std::vector<int32_t>(tokens, tokens + count) == std::vector<int32_t>{1, 2, 3, 1, 2});

  check_refused(octet_session_truncate(session.handle, 6), "6");
  check_refused(octet_session_evaluate(session.handle, ids, 1, OCTET_ROWS_LAST, nullptr, nullptr),
                "on_logits is NULL");
  check_refused(
      octet_session_evaluate(session.handle, ids, 1, static_cast<octet_rows>(7), count_rows, &rows),
      "rows is 7");
  const int32_t outside = 1024;
  check_refused(
      octet_session_evaluate(session.handle, &outside, 1, OCTET_ROWS_NONE, nullptr, nullptr),
      "1024");
  octet_session* huge = nullptr;
  check_refused(octet_session_create(model(), int64_t{1} << 40, &huge), "1099511627776");
  CHECK(huge == nullptr);
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
  check_refused(octet_session_create(nullptr, 0, &session), "model is NULL");
  check_refused(octet_session_create(model(), 0, nullptr), "session is NULL");
  check_refused(octet_session_generate(nullptr, "", nullptr, nullptr, nullptr, nullptr),
                "session is NULL");
  check_refused(octet_session_complete(nullptr, "", nullptr, nullptr, nullptr, nullptr),
                "session is NULL");
  check_refused(octet_session_stats(nullptr, &stats, sizeof stats), "session is NULL");
  check_refused(octet_session_set_messages(nullptr, nullptr, 0), "session is NULL");
  check_refused(octet_session_message(nullptr, 0, &message), "session is NULL");
  check_refused(octet_session_evaluate(nullptr, nullptr, 0, OCTET_ROWS_NONE, nullptr, nullptr),
                "session is NULL");
  check_refused(octet_session_truncate(nullptr, 0), "session is NULL");
  const CSession real;
  check_refused(octet_session_generate(real.handle, nullptr, nullptr, nullptr, nullptr, nullptr),
                "user is NULL");
  check_refused(octet_session_complete(real.handle, nullptr, nullptr, nullptr, nullptr, nullptr),
                "prompt is NULL");

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

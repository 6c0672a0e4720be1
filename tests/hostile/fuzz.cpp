// Good files of every format with random damage, the same at each run: whatever comes of it is an
// Error or a model that works, soon.
#include <octet/quant.h>
#include <octet/session.h>

#include <doctest/doctest.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "support/evaluate.h"
#include "support/fixtures.h"
#include "support/gguf_builder.h"

using namespace octet;
using namespace octet::testing;

namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr int rounds = 300;
constexpr double most_seconds = 10;
#else
constexpr int rounds = 1000;
constexpr double most_seconds = 2;
#endif

std::string read_all(const std::string& path) {
  return read_file(path, size_t{1} << 30);
}

/// Damages bytes, or the values in a JSON text.
class Damage {
 public:
  std::string bytes(std::string file) {
    for (size_t i = 0, times = 1 + below(3); i < times && !file.empty(); ++i) {
      // Half of the damage goes to the beginning: headers, counts, lengths.
      const size_t at = below(below(2) ? std::min<size_t>(file.size(), 1024) : file.size());
      switch (below(7)) {
        case 0:
          file[at] = static_cast<char>(below(256));
          break;
        case 1:
          file[at] = static_cast<char>(file[at] ^ 1 << below(8));
          break;
        case 2:
          file.resize(at);
          break;
        case 3:
          file.insert(at, std::string(1 + below(9), static_cast<char>(below(256))));
          break;
        case 4:
          file.erase(at, 1 + below(9));
          break;
        case 5:
          file.insert(at, file.substr(below(file.size()), 1 + below(200)));
          break;
        case 6:
          const std::string number = raw(extremes_[below(std::size(extremes_))]);
          file.replace(at, below(2) ? 4 : 8, number, 0, below(2) ? 4 : 8);
          break;
      }
    }
    return file;
  }

  /// Gives one of its values, or of its objects and lists, another value, or takes it away.
  std::string json(const nlohmann::json& document) {
    nlohmann::json changed = document;
    nlohmann::json* value = &changed;
    while (value->is_structured() && !value->empty() && (value == &changed || below(4) > 0)) {
      const auto member = std::next(value->begin(), static_cast<ptrdiff_t>(below(value->size())));
      if (below(16) == 0) {
        value->erase(member);
        return changed.dump();
      }
      value = &*member;
    }
    const std::string mark = "<the damaged value>";
    *value = mark;
    std::string text = changed.dump();
    return text.replace(text.find(mark) - 1, mark.size() + 2, values_[below(std::size(values_))]);
  }

 private:
  size_t below(size_t end) { return random_() % end; }

  static constexpr uint64_t extremes_[] = {0,
                                           1,
                                           127,
                                           128,
                                           255,
                                           65'535,
                                           0x7fffffff,
                                           0x80000000,
                                           0xffffffff,
                                           0x100000000,
                                           uint64_t{1} << 60,
                                           uint64_t{1} << 62,
                                           INT64_MAX,
                                           uint64_t{1} << 63,
                                           UINT64_MAX - 7,
                                           UINT64_MAX};
  static constexpr const char* values_[] = {"null",
                                            "true",
                                            "false",
                                            "0",
                                            "1",
                                            "-1",
                                            "2",
                                            "3",
                                            "255",
                                            "1073741824",
                                            "2147483647",
                                            "2147483648",
                                            "4294967295",
                                            "9223372036854775807",
                                            "9223372036854775808",
                                            "18446744073709551615",
                                            "18446744073709551616",
                                            "-9223372036854775808",
                                            "0.5",
                                            "-0.0",
                                            "1e-300",
                                            "1e300",
                                            "1e400",
                                            "\"\"",
                                            "\"x\"",
                                            "\"\\u0000\"",
                                            "\"\\ud800\"",
                                            "\"a\\nb\"",
                                            "\"/\"",
                                            "[]",
                                            "[1]",
                                            "[[[]]]",
                                            "[null]",
                                            "{}",
                                            "{\"a\": {\"b\": []}}"};
  std::mt19937 random_{20'261};
};

void use(const Tokenizer& tokenizer) {
  const std::vector<int32_t> ids = tokenizer.encode("hello w\xc3\xa9 12 <|end|>\n a");
  tokenizer.decode(ids);
  tokenizer.decode(std::vector<int32_t>{0, 1, 57, 300, INT32_MAX});
}

/// Opens a model, evaluates three tokens, tokenizes.
void use_model(const std::string& path) {
  ModelOptions options;
  options.threads = 1;
  const Model model = Model::open(path, options);
  Session session(model, {.context = 4});
  try {
    all_logits(session, std::vector<int32_t>{1, 2, 3});
  } catch (const Error& error) {
    // Damaged weights may be numbers whose products are not (lib/model/decoder.h).
    CAPTURE(std::string(error.what()));
    CHECK(std::string(error.what()).find("a value that is not finite") != std::string::npos);
  }
  if (model.has_tokenizer()) use(model.tokenizer());
}

void use_tokenizer(const std::string& path) {
  use(Tokenizer::open(path));
}

/// damage(i) is what `name` holds in round i; `action` uses it. The first round's has to be sound,
/// and of the damaged ones some, but not all, have to be refused.
template <class Make, class Action>
void check_rounds(const std::string& name, Make damage, Action action) {
  CAPTURE(name);
  int refused = 0;
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    damage(round);
    const auto start = std::chrono::steady_clock::now();
    try {
      action();
    } catch (const Error& error) {
      CAPTURE(std::string(error.what()));
      CHECK(round > 0);
      CHECK(error.code() != ErrorCode::Internal);
      CHECK(error.code() != ErrorCode::OutOfMemory);
      CHECK(std::string(error.what()).find('\n') == std::string::npos);
      ++refused;
    } catch (const std::exception& error) {
      FAIL_CHECK("not an octet::Error: ", error.what());
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    CHECK(took.count() < most_seconds);
  }
  CHECK(refused > rounds / 20);
  CHECK(refused < rounds);
}

void write(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

/// A safetensors file taken apart into its header and its data, to be put together with another.
struct Parts {
  nlohmann::json header;
  std::string data;

  explicit Parts(const std::string& path) {
    const std::string file = read_all(path);
    uint64_t length = 0;
    std::memcpy(&length, file.data(), sizeof length);
    header = nlohmann::json::parse(file.substr(8, length));
    data = file.substr(8 + length);
  }
  /// With the length that the text has, and the data on a boundary of 64 bytes.
  std::string with(std::string text) const {
    while ((8 + text.size()) % 64 != 0) text += ' ';
    return raw<uint64_t>(text.size()) + text + data;
  }
};

/// Damages the bytes of one file in the folder.
template <class Action>
void damage_bytes(const std::string& path, Action action) {
  const std::string good = read_all(path);
  Damage damage;
  check_rounds(
      path, [&](int round) { write(path, round == 0 ? good : damage.bytes(good)); }, action);
  write(path, good);
}

/// Damages the values of one JSON file in the folder.
template <class Action>
void damage_json(const std::string& path, Action action) {
  const std::string good = read_all(path);
  const auto document = nlohmann::json::parse(good);
  Damage damage;
  check_rounds(
      path, [&](int round) { write(path, round == 0 ? good : damage.json(document)); }, action);
  write(path, good);
}

/// A folder with the hostile set's small valid model.
class Base : public TempDir {
 public:
  Base() {
    for (const char* name : {"config.json", "model.safetensors", "tokenizer.json", "model.gguf"})
      std::filesystem::copy(fixture(std::string("hostile/base/") + name), path(name));
  }
};

/// A GGUF file of a vocabulary alone.
std::string vocabulary(const std::string& model) {
  std::vector<std::string> tokens;
  std::string types, scores;
  for (char c = 'a'; c <= 'z'; ++c) tokens.emplace_back(1, c);
  tokens.insert(tokens.end(), {"he", "ll", "<s>", "</s>", "<unk>", "\xe2\x96\x81"});
  for (size_t i = 0; i < tokens.size(); ++i) {
    types += raw<int32_t>(tokens[i] == "<unk>" ? 2 : tokens[i][0] == '<' ? 3 : 1);
    scores += raw(-static_cast<float>(i));
  }
  if (model == "llama") {
    for (int byte = 0; byte < 256; ++byte) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
      tokens.emplace_back(name);
      types += raw<int32_t>(6);
      scores += raw(0.0f);
    }
  }
  GgufBuilder builder;
  builder.text("tokenizer.ggml.model", model).text("tokenizer.ggml.pre", "qwen2");
  builder.u32("tokenizer.ggml.bos_token_id", 28).u32("tokenizer.ggml.eos_token_id", 29);
  builder.u32("tokenizer.ggml.unknown_token_id", 30);
  builder.array("tokenizer.ggml.token_type", 5, tokens.size(), types);
  if (model == "llama") builder.array("tokenizer.ggml.scores", 6, tokens.size(), scores);
  if (model == "gpt2") builder.texts("tokenizer.ggml.merges", {"h e", "l l"});
  return builder.texts("tokenizer.ggml.tokens", tokens).bytes();
}

}  // namespace

TEST_CASE("damaged safetensors, plain and octet's own, and damaged GGUF models") {
  const Base base;
  const std::string octet_file = base.path("converted.safetensors");
  convert(base.path(), octet_file, {.threads = 1});
  damage_bytes(base.path("model.safetensors"), [&] { use_model(base.path()); });
  damage_bytes(base.path("model.gguf"), [&] { use_model(base.path("model.gguf")); });
  damage_bytes(octet_file, [&] { use_model(octet_file); });
}

TEST_CASE("damaged headers of safetensors, whose lengths are right") {
  const Base base;
  const std::string octet_file = base.path("converted.safetensors");
  convert(base.path(), octet_file, {.scheme = Scheme::w8a8_g128, .threads = 1});
  for (const std::string& path : {base.path("model.safetensors"), octet_file}) {
    const std::string good = read_all(path);
    const Parts parts(path);
    Damage damage;
    check_rounds(
        path,
        [&](int round) {
          write(path, parts.with(round == 0 ? parts.header.dump() : damage.json(parts.header)));
        },
        [&] { use_model(path); });
    write(path, good);
  }
}

TEST_CASE("a damaged config of octet's own file") {
  const Base base;
  const std::string path = base.path("converted.safetensors");
  convert(base.path(), path, {.threads = 1});
  const Parts parts(path);
  const auto config =
      nlohmann::json::parse(parts.header["__metadata__"]["octet.config"].get<std::string>());
  Damage damage;
  check_rounds(
      path,
      [&](int round) {
        nlohmann::json header = parts.header;
        if (round > 0) header["__metadata__"]["octet.config"] = damage.json(config);
        write(path, parts.with(header.dump()));
      },
      [&] { use_model(path); });
}

TEST_CASE("damaged JSON of a Hugging Face directory") {
  const Base base;
  const std::string generation = base.path("generation_config.json");
  write(generation, R"({"bos_token_id": 1, "eos_token_id": [2, 3], "do_sample": true, "top_k": 20,
                        "temperature": 0.7, "top_p": 0.8, "repetition_penalty": 1.1})");
  const std::string tokenizer_config = base.path("tokenizer_config.json");
  write(tokenizer_config, R"({"add_bos_token": false, "bos_token": null, "eos_token": "<|end|>",
                              "added_tokens_decoder": {"57": {"content": "<|end|>"}}})");
  for (const std::string& path : {base.path("config.json"), generation, tokenizer_config}) {
    damage_bytes(path, [&] { use_model(base.path()); });
    damage_json(path, [&] { use_model(base.path()); });
  }
  std::filesystem::copy(fixture("hostile/index/ok_single_shard.json"),
                        base.path("model.safetensors.index.json"));
  std::filesystem::rename(base.path("model.safetensors"), base.path("shard.safetensors"));
  damage_bytes(base.path("model.safetensors.index.json"), [&] { use_model(base.path()); });
  damage_json(base.path("model.safetensors.index.json"), [&] { use_model(base.path()); });
}

TEST_CASE("damaged tokenizers") {
  const Base base;
  const std::string json = base.path("tokenizer.json");
  damage_bytes(json, [&] { use_tokenizer(json); });
  damage_json(json, [&] { use_tokenizer(json); });
  for (const char* name : {"unigram.model", "bpe.model"}) {
    const std::string path = base.path(name);
    std::filesystem::copy(fixture(std::string("spm/") + name), path);
    damage_bytes(path, [&] { use_tokenizer(path); });
  }
  for (const char* model : {"gpt2", "llama"}) {
    const std::string path = base.path(std::string(model) + ".gguf");
    write(path, vocabulary(model));
    damage_bytes(path, [&] { use_tokenizer(path); });
  }
}

// Sentencepiece tokenizers against the sentencepiece library's own results (tests/data, spm).
#include <doctest/doctest.h>

#include <cstring>

#include "lib/text/tokenizer_impl.h"
#include "tests/text/tokenizer_fixtures.h"

using namespace octet;

namespace {

TokenizerSource model_source(const std::string& proto, const std::string& config = "") {
  TokenizerSource source;
  source.kind = TokenizerSource::Kind::sentencepiece;
  source.where = "test/tokenizer.model";
  source.config = config;
  const auto bytes = std::as_bytes(std::span<const char>(proto));
  source.bytes.assign(bytes.begin(), bytes.end());
  return source;
}

void check_fixture(const Tokenizer& tokenizer, const std::string& name) {
  const auto lines = fixture_lines("spm/" + name + ".jsonl");
  CHECK(lines.size() == 50);
  for (const auto& line : lines) {
    CAPTURE(line.dump());
    const auto ids = line["ids"].get<std::vector<int32_t>>();
    CHECK(tokenizer.encode(line["text"].get<std::string>()) == ids);
    CHECK(tokenizer.decode(ids) == line["decoded"].get<std::string>());
    for (size_t i = 0; i < ids.size(); ++i) {
      CHECK(tokenizer.find(line["pieces"][i].get<std::string>()) == ids[i]);
    }
  }
}

Tokenizer through_flat(const Tokenizer& tokenizer) {
  TokenizerSource source;
  source.kind = TokenizerSource::Kind::flat;
  source.bytes = tokenizer.impl()->serialize();
  return make_tokenizer(source);
}

/// Reads a varint of a protobuf message at `at`.
uint64_t varint(const std::string& proto, size_t& at) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<uint8_t>(proto.at(at++));
    value |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
}

/// The vocabulary of a .model as GGUF converters write it: pieces, scores, types.
GgufVocabulary gguf_vocabulary(const std::string& proto) {
  GgufVocabulary vocabulary;
  vocabulary.model = "llama";
  vocabulary.pre = "default";
  for (size_t at = 0; at < proto.size();) {
    const uint64_t tag = varint(proto, at);
    const uint64_t size = varint(proto, at);
    const size_t end = at + size;
    if (tag == (1 << 3 | 2)) {
      vocabulary.types.push_back(1);
      while (at < end) {
        const uint64_t part = varint(proto, at);
        if (part == (1 << 3 | 2)) {
          const uint64_t length = varint(proto, at);
          vocabulary.tokens.push_back(proto.substr(at, length));
          at += length;
        } else if (part == (2 << 3 | 5)) {
          float score;
          std::memcpy(&score, proto.data() + at, 4);
          vocabulary.scores.push_back(score);
          at += 4;
        } else {
          REQUIRE(part == (3 << 3 | 0));
          vocabulary.types.back() = static_cast<int32_t>(varint(proto, at));
        }
      }
    }
    at = end;
  }
  return vocabulary;
}

ErrorCode error_of(const TokenizerSource& source) {
  try {
    make_tokenizer(source);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::Internal;
}

}  // namespace

TEST_CASE("sentencepiece models give sentencepiece's ids and texts") {
  check_fixture(make_tokenizer(model_source(fixture("spm/bpe.model"))), "bpe");
  check_fixture(make_tokenizer(model_source(fixture("spm/unigram.model"))), "unigram");
}

TEST_CASE("a sentencepiece tokenizer read back from its flat form does the same") {
  check_fixture(through_flat(make_tokenizer(model_source(fixture("spm/bpe.model")))), "bpe");
}

TEST_CASE("a GGUF llama vocabulary equals the sentencepiece model that it was made from") {
  TokenizerSource source;
  source.kind = TokenizerSource::Kind::gguf;
  source.where = "test.gguf";
  source.gguf = gguf_vocabulary(fixture("spm/bpe.model"));
  source.gguf.bos_id = 1;
  source.gguf.add_bos = true;
  const Tokenizer tokenizer = make_tokenizer(source);
  CHECK(tokenizer.size() == 800);
  CHECK(tokenizer.bos_id() == 1);
  CHECK(tokenizer.adds_bos());
  for (const auto& line : fixture_lines("spm/bpe.jsonl")) {
    CAPTURE(line.dump());
    const auto text = line["text"].get<std::string>();
    // A GGUF file's control tokens are read out of text, as chat templates need it.
    CHECK(tokenizer.encode(text, {.parse_special = false}) ==
          line["ids"].get<std::vector<int32_t>>());
    CHECK(tokenizer.decode(line["ids"].get<std::vector<int32_t>>()) ==
          line["decoded"].get<std::string>());
  }
  const auto ids = tokenizer.encode("</s>", {.add_bos = true});
  CHECK(ids == std::vector<int32_t>{1, 2});
  CHECK(tokenizer.decode(ids) == "<s></s>");
  CHECK(tokenizer.decode(ids, {.keep_special = false}).empty());
}

TEST_CASE("tokenizer_config.json adds tokens to a sentencepiece model") {
  const std::string config = R"({"bos_token": "<s>", "add_bos_token": true, "added_tokens_decoder":
      {"1": {"content": "<s>", "special": true}, "800": {"content": "<|user|>"}}})";
  const Tokenizer tokenizer = make_tokenizer(model_source(fixture("spm/bpe.model"), config));
  CHECK(tokenizer.size() == 801);
  CHECK(tokenizer.bos_id() == 1);
  CHECK(tokenizer.adds_bos());
  const auto ids = tokenizer.encode("<s><|user|>");
  CHECK(ids == std::vector<int32_t>{1, 800});
  CHECK(tokenizer.decode(ids, {.keep_special = false}) == "<|user|>");
  CHECK(tokenizer.is_special(1));
  CHECK_FALSE(tokenizer.is_special(800));
}

TEST_CASE("a broken sentencepiece model is an InvalidFile, wherever it is cut or changed") {
  const std::string proto = fixture("spm/bpe.model");
  CHECK(error_of(model_source("")) == ErrorCode::InvalidFile);
  CHECK(error_of(model_source("not a model")) == ErrorCode::InvalidFile);
  uint32_t random = 1;
  auto next = [&] { return (random = random * 1664525u + 1013904223u) >> 8; };
  for (int round = 0; round < 300; ++round) {
    std::string broken = proto.substr(0, round % 3 ? proto.size() : next() % proto.size());
    for (uint32_t flips = next() % 4; flips > 0 && !broken.empty(); --flips) {
      broken[next() % broken.size()] = static_cast<char>(next());
    }
    // Whatever it is, it is an Error or a tokenizer that works.
    try {
      make_tokenizer(model_source(broken)).encode("The licensee may copy \xE4\xBD\xA0");
    } catch (const Error& error) {
      CHECK(error.code() != ErrorCode::Internal);
    }
  }
}

// Byte-level BPE against Hugging Face tokenizers.
#include <doctest/doctest.h>

#include "lib/text/tokenizer_impl.h"
#include "tests/text/tokenizer_fixtures.h"

using namespace octet;

namespace {

/// Loading takes a while; the cases share.
const Tokenizer& qwen25() {
  static const Tokenizer tokenizer = make_tokenizer(qwen25_source());
  return tokenizer;
}

const Tokenizer& r1_distill() {
  static const Tokenizer tokenizer = make_tokenizer(r1_distill_source());
  return tokenizer;
}

std::string stream_decode(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                          const DecodeOptions& options) {
  StreamDecoder decoder(tokenizer, options);
  std::string text;
  for (int32_t id : ids) {
    const std::string piece = decoder.push(id);
    // Each piece alone must be UTF-8: encode refuses what is not.
    CHECK_NOTHROW(tokenizer.encode(piece));
    text += piece;
  }
  return text + decoder.finish();
}

void check_decode(const Tokenizer& tokenizer, const nlohmann::json& line) {
  const auto ids = line["ids"].get<std::vector<int32_t>>();
  CAPTURE(line.dump());
  CHECK(tokenizer.decode(ids) == line["decoded"].get<std::string>());
  CHECK(tokenizer.decode(ids, {.keep_special = false}) == line["decoded_skip"].get<std::string>());
  CHECK(stream_decode(tokenizer, ids, {}) == line["decoded"].get<std::string>());
  CHECK(stream_decode(tokenizer, ids, {.keep_special = false}) ==
        line["decoded_skip"].get<std::string>());
}

void check_fixture(const Tokenizer& tokenizer, const std::string& name, size_t encodings,
                   size_t decodings) {
  const auto encode = fixture_lines("tokenizer/" + name + "/encode.jsonl");
  const auto decode = fixture_lines("tokenizer/" + name + "/decode.jsonl");
  CHECK(encode.size() == encodings);
  CHECK(decode.size() == decodings);
  for (const auto& line : encode) {
    CAPTURE(line.dump());
    CHECK(tokenizer.encode(line["text"].get<std::string>()) ==
          line["ids"].get<std::vector<int32_t>>());
    check_decode(tokenizer, line);
  }
  for (const auto& line : decode) check_decode(tokenizer, line);
}

Tokenizer through_flat(const Tokenizer& tokenizer) {
  TokenizerSource source;
  source.kind = TokenizerSource::Kind::flat;
  source.where = "test/flat";
  source.bytes = tokenizer.impl()->serialize();
  return make_tokenizer(source);
}

}  // namespace

TEST_CASE("the Qwen2.5 tokenizer equals Hugging Face on every fixture string, both directions") {
  check_fixture(qwen25(), "qwen2.5", 400, 103);
}

TEST_CASE("the R1-Distill tokenizer equals Hugging Face on every fixture string") {
  check_fixture(r1_distill(), "r1-distill", 176, 103);
}

TEST_CASE("a tokenizer read back from its flat form does the same") {
  check_fixture(through_flat(r1_distill()), "r1-distill", 176, 103);
}

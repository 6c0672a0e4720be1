// Tokenizers written as tokenizer.json and as GGUF keys, against the tokenizers package's ids.
#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "lib/export/flat_tokenizer.h"
#include "lib/text/bpe_export.h"
#include "lib/text/tokenizer_impl.h"
#include "support/fixtures.h"

using namespace octet;
using namespace octet::testing;
using nlohmann::json;

namespace {

TokenizerSource as_json(const BpeModel& model) {
  TokenizerSource source;
  source.where = "written";
  source.json = bpe_to_json(model);
  return source;
}

TokenizerSource as_gguf(const BpeModel& model) {
  TokenizerSource source;
  source.kind = TokenizerSource::Kind::gguf;
  source.where = "written";
  source.gguf = bpe_to_gguf(model, model.size() + 5, "written");
  return source;
}

void check_alike(const TokenizerSource& source, const std::string& name) {
  const Tokenizer tokenizer = make_tokenizer(source);
  std::ifstream lines(fixture("tokenizer/" + name + "/encode.jsonl"));
  int wrong = 0, count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const json wanted = json::parse(line);
    const auto ids = tokenizer.encode(wanted["text"].get<std::string>());
    if (json(ids) != wanted["ids"] || tokenizer.decode(ids) != wanted["decoded"]) ++wrong;
  }
  CHECK(wrong == 0);
  CHECK(count > 100);
}

}  // namespace

TEST_CASE("a tokenizer written as tokenizer.json or as GGUF keys gives the same ids") {
  for (const auto& tokenizer : {std::pair("qwen2.5", "tokenizer/qwen2.5/tokenizer.json"),
                                std::pair("smollm2", "tokenizer/smollm2/vocab.gguf")}) {
    const char *const name = tokenizer.first, *const path = tokenizer.second;
    CAPTURE(name);
    const FlatTokenizer flat = flat_tokenizer(read_tokenizer_source(fixture(path)));
    REQUIRE(flat.bpe.has_value());
    check_alike(as_json(*flat.bpe), name);
    check_alike(as_gguf(*flat.bpe), name);
  }
}

TEST_CASE("the written tokenizer.json is Qwen's own but for its order") {
  const FlatTokenizer flat =
      flat_tokenizer(read_tokenizer_source(fixture("tokenizer/qwen2.5/tokenizer.json")));
  const json ours = json::parse(bpe_to_json(*flat.bpe));
  const json theirs = json::parse(std::ifstream(fixture("tokenizer/qwen2.5/tokenizer.json")));
  CHECK(ours["model"]["vocab"] == theirs["model"]["vocab"]);
  CHECK(ours["model"]["merges"] == theirs["model"]["merges"]);
  CHECK(ours["added_tokens"] == theirs["added_tokens"]);
  CHECK(ours["normalizer"] == theirs["normalizer"]);
  CHECK(ours["pre_tokenizer"]["pretokenizers"][0] == theirs["pre_tokenizer"]["pretokenizers"][0]);
}

TEST_CASE("a text split that GGUF has no name for is refused") {
  FlatTokenizer flat =
      flat_tokenizer(read_tokenizer_source(fixture("tokenizer/smollm2/vocab.gguf")));
  flat.bpe->steps[0].pattern = "[aeiou]";
  CHECK_THROWS_WITH_AS(bpe_to_gguf(*flat.bpe, 0, "here"), doctest::Contains("no name"), Error);
}

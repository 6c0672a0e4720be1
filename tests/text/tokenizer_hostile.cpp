// Tokenizers out of broken files: an Error that says why, never a crash.
#include <doctest/doctest.h>

#include "lib/text/tokenizer_impl.h"
#include "tests/text/tokenizer_fixtures.h"

using namespace octet;
using nlohmann::json;

namespace {

enum class Outcome { loaded, refused };

Outcome outcome(const TokenizerSource& source) {
  try {
    const Tokenizer tokenizer = make_tokenizer(source);
    for (const char* text :
         {"hello w\xC3\xA9 12 <|end|>", "a\xE1\x84\x80\xE1\x85\xA1 \n\n  \xF0\x9F\x98\x80"}) {
      tokenizer.decode(tokenizer.encode(text));
    }
    tokenizer.decode(std::vector<int32_t>{0, 1, 2, 59, 1 << 30});
    return Outcome::loaded;
  } catch (const Error& error) {
    CAPTURE(error.what());
    CHECK((error.code() == ErrorCode::InvalidFile || error.code() == ErrorCode::Unsupported));
    CHECK(std::string(error.what()).find(source.where) != std::string::npos);
    return Outcome::refused;
  }
}

json base() {
  return json::parse(fixture("hostile/base/tokenizer.json"));
}

Outcome outcome_with(const std::string& pointer, const json& value) {
  json changed = base();
  changed[json::json_pointer(pointer)] = value;
  return outcome(json_source(changed.dump()));
}

std::string error_with(const std::string& pointer, const json& value) {
  json changed = base();
  changed[json::json_pointer(pointer)] = value;
  try {
    make_tokenizer(json_source(changed.dump()));
  } catch (const Error& error) {
    return std::string(to_string(error.code())) + ": " + error.what();
  }
  return "";
}

TokenizerSource flat_source(std::vector<std::byte> bytes) {
  TokenizerSource source;
  source.kind = TokenizerSource::Kind::flat;
  source.where = "test/flat";
  source.bytes = std::move(bytes);
  return source;
}

}  // namespace

TEST_CASE("the hostile tokenizer.json files are refused and the good ones load") {
  const json manifest = json::parse(fixture("hostile/manifest.json"));
  int refused = 0, loaded = 0, either = 0;
  for (const json& entry : manifest["cases"]) {
    if (entry["kind"] != "tokenizer") continue;
    CAPTURE(entry.dump());
    const Outcome got =
        outcome(json_source(fixture("hostile/" + entry["file"].get<std::string>())));
    const std::string expect = entry["expect"];
    if (expect == "no_crash") {
      ++either;
    } else {
      CHECK((got == Outcome::loaded) == (expect == "accept"));
      ++(got == Outcome::loaded ? loaded : refused);
    }
  }
  CHECK(refused == 22);
  CHECK(loaded == 2);
  CHECK(either == 3);
}

TEST_CASE("ten megabytes of nested brackets are refused") {
  const size_t depth = 5 * 1024 * 1024;
  CHECK(outcome(json_source(std::string(depth, '[') + std::string(depth, ']'))) ==
        Outcome::refused);
}

TEST_CASE("every value of a tokenizer.json may have any wrong type") {
  const json wrong[] = {nullptr,
                        true,
                        -1,
                        1e300,
                        "text",
                        json::array(),
                        json::object(),
                        json::array({1}),
                        json::parse("[[[[]]]]"),
                        18446744073709551615u};
  const json flat = base().flatten();
  for (const auto& [pointer, old] : flat.items()) {
    for (auto at = json::json_pointer(pointer); !at.empty(); at = at.parent_pointer()) {
      for (const json& value : wrong) {
        CAPTURE(at.to_string());
        CAPTURE(value.dump());
        outcome_with(at.to_string(), value);
      }
    }
  }
  for (const json& value : wrong) {
    outcome(json_source(value.dump()));
    outcome(json_source(base().dump(), value.dump()));
    for (const char* key : {"bos_token", "add_bos_token", "added_tokens_decoder"}) {
      outcome(json_source(base().dump(), json{{key, value}}.dump()));
    }
  }
}

TEST_CASE("what octet does not know is Unsupported and named") {
  auto says = [](const std::string& error, const std::string& what) {
    CAPTURE(error);
    CHECK(error.find("Unsupported") == 0);
    CHECK(error.find(what) != error.npos);
  };
  says(error_with("/model/type", "WordPiece"), "WordPiece");
  says(error_with("/model/dropout", 0.1), "dropout");
  says(error_with("/model/end_of_word_suffix", "</w>"), "end_of_word_suffix");
  says(error_with("/model/byte_fallback", true), "byte_fallback");
  says(error_with("/normalizer/type", "Lowercase"), "Lowercase");
  says(error_with("/pre_tokenizer", {{"type", "Metaspace"}}), "Metaspace");
  says(error_with("/pre_tokenizer/pretokenizers/0/behavior", "Removed"), "Removed");
  says(error_with("/pre_tokenizer/pretokenizers/0/invert", true), "invert");
  says(error_with("/pre_tokenizer/pretokenizers/0/pattern", {{"String", " "}}), "Regex");
  says(error_with("/decoder/type", "Metaspace"), "Metaspace");
  says(error_with("/post_processor/type", "BertProcessing"), "BertProcessing");
  says(error_with("/added_tokens/0/lstrip", true), "lstrip");
  for (const char* pattern : {"\\w+", "^a", "a$", "[a[b]]", "[a&&b]", "(*UTF)a", "\\bx", "\\K"}) {
    says(error_with("/pre_tokenizer/pretokenizers/0/pattern/Regex", pattern), "split pattern");
  }
}

TEST_CASE("a pattern that backtracks without end gives an error, not a hang") {
  json changed = base();
  changed["/pre_tokenizer/pretokenizers/0/pattern/Regex"_json_pointer] = "(?:a|aa|a?a)+[b-d]";
  const Tokenizer tokenizer = make_tokenizer(json_source(changed.dump()));
  CHECK_THROWS_AS(tokenizer.encode(std::string(200, 'a')), Error);
}

TEST_CASE("a flat form that is cut or changed anywhere is refused or works") {
  const std::vector<std::byte> flat =
      make_tokenizer(json_source(base().dump())).impl()->serialize();
  CHECK(outcome(flat_source(flat)) == Outcome::loaded);
  for (size_t size = 0; size < flat.size(); ++size) {
    CHECK(outcome(flat_source({flat.begin(), flat.begin() + static_cast<ptrdiff_t>(size)})) ==
          Outcome::refused);
  }
  for (size_t at = 0; at < flat.size(); ++at) {
    for (const uint8_t value : {0x00, 0x01, 0x7F, 0x80, 0xFF}) {
      auto changed = flat;
      changed[at] = std::byte{value};
      outcome(flat_source(changed));
    }
  }
  auto longer = flat;
  longer.push_back(std::byte{0});
  CHECK(outcome(flat_source(longer)) == Outcome::refused);
}

TEST_CASE("a GGUF vocabulary whose parts disagree is refused") {
  TokenizerSource source;
  source.kind = TokenizerSource::Kind::gguf;
  source.where = "test.gguf";
  source.gguf.model = "gpt2";
  source.gguf.pre = "qwen2";
  source.gguf.tokens = {"a", "b", "ab", "<|x|>"};
  source.gguf.types = {1, 1, 1, 3};
  source.gguf.merges = {"a b"};
  source.gguf.bos_id = 3;
  CHECK(outcome(source) == Outcome::loaded);
  auto refused_after = [&](auto change) {
    TokenizerSource changed = source;
    change(changed.gguf);
    CHECK(outcome(changed) == Outcome::refused);
  };
  refused_after([](GgufVocabulary& v) { v.types.pop_back(); });
  refused_after([](GgufVocabulary& v) { v.types[0] = 7; });
  refused_after([](GgufVocabulary& v) { v.merges = {"a c"}; });
  refused_after([](GgufVocabulary& v) { v.merges = {"ab"}; });
  refused_after([](GgufVocabulary& v) { v.merges = {"a b ab"}; });
  refused_after([](GgufVocabulary& v) { v.merges = {"b a"}; });
  refused_after([](GgufVocabulary& v) { v.tokens[1] = "\xFF"; });
  refused_after([](GgufVocabulary& v) { v.bos_id = 4; });
  refused_after([](GgufVocabulary& v) { v.pre = "command-r"; });
  refused_after([](GgufVocabulary& v) { v.pre = ""; });
  refused_after([](GgufVocabulary& v) { v.model = "bert"; });
  refused_after([](GgufVocabulary& v) { v.model = "llama"; });
  refused_after([](GgufVocabulary& v) { v = {}; });
}

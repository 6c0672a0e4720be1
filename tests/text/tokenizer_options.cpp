// What a tokenizer.json can ask for, on a vocabulary small enough to check by hand: one token a
// character, so that the ids show where the pre-tokenizer cuts and what the normalizer does.
#include <doctest/doctest.h>

#include <thread>

#include "lib/text/tokenizer_impl.h"
#include "tests/text/tokenizer_fixtures.h"

using namespace octet;
using nlohmann::json;

namespace {

/// The hostile set's valid base, which has letters, space, newline, "he", "ll", "hell", "hello" and
/// " w", split into letters, white space and the rest, and the added token <|end|> (59).
json base() {
  return json::parse(fixture("hostile/base/tokenizer.json"));
}

Tokenizer load(const json& tokenizer, const std::string& config = "") {
  return make_tokenizer(json_source(tokenizer.dump(), config));
}

using Ids = std::vector<int32_t>;

json added(int id, const std::string& text, bool special, bool normalized = false) {
  return {{"id", id}, {"content", text}, {"special", special}, {"normalized", normalized}};
}

}  // namespace

TEST_CASE("the pre-tokenizer keeps merges from crossing words") {
  json tokenizer = base();
  CHECK(load(tokenizer).encode("hello w") == Ids{57, 52, 22});
  auto& steps = tokenizer["pre_tokenizer"]["pretokenizers"];
  steps[0]["pattern"]["Regex"] = " ?[a-z]+";
  CHECK(load(tokenizer).encode("hello w") == Ids{57, 58});
  steps[0]["pattern"]["Regex"] = "ll";  // what lies between matches is a piece, too
  CHECK(load(tokenizer).encode("hello w") == Ids{54, 55, 14, 58});
  steps[0]["pattern"]["Regex"] = "(?=l)";  // an empty match cuts
  CHECK(load(tokenizer).encode("hello w") == Ids{54, 11, 11, 14, 58});
}

TEST_CASE("ByteLevel puts a space before text and splits as GPT-2 does, if it says so") {
  json tokenizer = base();
  tokenizer["pre_tokenizer"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", true}};
  CHECK(load(tokenizer).encode("w") == Ids{58});
  CHECK(load(tokenizer).encode(" w") == Ids{58});
  CHECK(load(tokenizer).encode("hello w  w") == Ids{52, 57, 58, 52, 58});
  tokenizer["pre_tokenizer"]["use_regex"] = false;
  CHECK(load(tokenizer).encode("w  w") == Ids{58, 52, 58});
  tokenizer["pre_tokenizer"] = {{"type", "ByteLevel"}};  // both are on by default
  CHECK(load(tokenizer).encode("w") == Ids{58});
}

TEST_CASE("Digits cuts at numbers, each alone or run by run") {
  json tokenizer = base();
  auto& vocabulary = tokenizer["model"]["vocab"];
  vocabulary["1"] = 60;
  vocabulary["11"] = 61;
  vocabulary["1a"] = 62;
  tokenizer["model"]["merges"] = {"1 1", "1 a"};
  auto& step = tokenizer["pre_tokenizer"]["pretokenizers"][0];
  step = {{"type", "Digits"}, {"individual_digits", true}};
  CHECK(load(tokenizer).encode("a11a") == Ids{0, 60, 60, 0});
  step["individual_digits"] = false;
  CHECK(load(tokenizer).encode("a11a") == Ids{0, 61, 0});
}

TEST_CASE("bytes without a token vanish, or become unk_token") {
  json tokenizer = base();
  CHECK(load(tokenizer).encode("a\xC3\xA9l1l") == Ids{0, 11, 11});
  tokenizer["model"]["vocab"]["unk"] = 60;
  tokenizer["model"]["unk_token"] = "unk";
  CHECK(load(tokenizer).encode("a\xC3\xA9z") == Ids{0, 60, 60, 25});
}

TEST_CASE("ignore_merges takes a word that is a token whole") {
  json tokenizer = base();
  tokenizer["model"]["vocab"]["world"] = 60;
  CHECK(load(tokenizer).encode("world") == Ids{22, 14, 17, 11, 3});
  tokenizer["model"]["ignore_merges"] = true;
  CHECK(load(tokenizer).encode("world") == Ids{60});
  CHECK(load(tokenizer).encode("worlds") == Ids{22, 14, 17, 11, 3, 18});
}

TEST_CASE("added tokens: the leftmost, there the longest, and only if asked for") {
  json tokenizer = base();
  tokenizer["added_tokens"] = {added(59, "<a", true), added(60, "<ab>", false),
                               added(61, "b>c", false)};
  const Tokenizer t = load(tokenizer);
  CHECK(t.encode("<ab>c") == Ids{60, 2});
  CHECK(t.encode("<a<ab<ab>") == Ids{59, 59, 1, 60});
  CHECK(t.encode("<ab>c", {.parse_special = false}) == Ids{0, 1, 2});
  CHECK(t.decode(Ids{59, 60, 61}) == "<a<ab>b>c");
  CHECK(t.decode(Ids{59, 60, 61}, {.keep_special = false}) == "<ab>b>c");
  CHECK(t.is_special(59));
  CHECK_FALSE(t.is_special(60));
  CHECK_FALSE(t.is_special(-1));
  CHECK(t.size() == 62);
  CHECK(t.has_text(61));
  CHECK_FALSE(t.has_text(62));
  CHECK_FALSE(t.has_text(-1));
  CHECK(t.find("<ab>") == 60);
  CHECK(t.find("hello") == 57);
  CHECK(t.find(" w") == 58);
  CHECK(t.find("nothing") == -1);
}

TEST_CASE("normalized added tokens are found after normalization, the others before") {
  json tokenizer = base();
  const std::string composed = "\xC3\xA9", decomposed = "e\xCC\x81";
  tokenizer["added_tokens"] = json::array({added(59, composed + "!", false, true)});
  CHECK(load(tokenizer).encode("a" + decomposed + "!") == Ids{0, 59});
  tokenizer["added_tokens"] = json::array({added(59, composed + "!", false, false)});
  CHECK(load(tokenizer).encode("a" + decomposed + "!a") == Ids{0, 0});
  CHECK(load(tokenizer).encode("a" + composed + "!") == Ids{0, 59});
}

TEST_CASE("the beginning-of-text token comes from tokenizer_config.json or the post-processor") {
  json tokenizer = base();
  CHECK(load(tokenizer).bos_id() == -1);
  CHECK(load(tokenizer).encode("a", {.add_bos = true}) == Ids{0});
  const Tokenizer named = load(tokenizer, R"({"bos_token": "<|end|>"})");
  CHECK(named.bos_id() == 59);
  CHECK_FALSE(named.adds_bos());
  CHECK(named.encode("a", {.add_bos = true}) == Ids{59, 0});
  CHECK(load(tokenizer, R"({"bos_token": {"content": "<|end|>"}, "add_bos_token": true})")
            .adds_bos());
  CHECK_THROWS_AS(load(tokenizer, R"({"bos_token": "<s>", "add_bos_token": true})"), Error);
  tokenizer["post_processor"] = {
      {"type", "Sequence"},
      {"processors",
       {{{"type", "ByteLevel"}},
        {{"type", "TemplateProcessing"},
         {"single", {{{"SpecialToken", {{"id", "<|end|>"}}}}, {{"Sequence", {{"id", "A"}}}}}}}}}};
  CHECK(load(tokenizer).adds_bos());
  CHECK(load(tokenizer).bos_id() == 59);
  CHECK_FALSE(load(tokenizer, R"({"add_bos_token": false})").adds_bos());
}

TEST_CASE("wrong arguments are named") {
  const Tokenizer t = load(base());
  CHECK_THROWS_WITH_AS(t.encode("abc\xFFz"), "encode: the text is not UTF-8 at byte 3 of 5", Error);
  CHECK_THROWS_WITH_AS(t.decode(Ids{0, -1}), "decode: id -1 is negative", Error);
  CHECK(t.decode(Ids{0, 1'000'000, INT32_MAX, 1}) == "ab");
  CHECK(t.encode("").empty());
}

TEST_CASE("a tokenizer serves many threads at once") {
  const Tokenizer t = make_tokenizer(json_source(base().dump()));
  const Ids expected = t.encode("hello w hello <|end|> hello");
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (int& count : wrong) {
    threads.emplace_back([&, copy = t] {
      for (int i = 0; i < 200; ++i) {
        const Ids ids = copy.encode("hello w hello <|end|> hello");
        count += ids != expected || copy.decode(ids) != "hello w hello <|end|> hello";
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4, 0));
}

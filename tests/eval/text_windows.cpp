#include "lib/eval/text_windows.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "support/text_model.h"

using namespace octet;
using namespace octet::testing;

namespace {

Tokenizer byte_tokenizer() {
  const TempDir folder;
  make_text_model("tiny-qwen2", folder.path("m"));
  return Tokenizer::open(folder.path("m"));
}

Tokenizer qwen_tokenizer() {
  return Tokenizer::open(fixture("tokenizer/qwen2.5/tokenizer.json"));
}

/// Every id of a text, taken `window` at a time.
std::vector<int32_t> read_all(const Tokenizer& tokenizer, std::string_view text, size_t piece_bytes,
                              size_t window) {
  size_t at = 0;
  const auto read = [&](char* to, size_t count) {
    const size_t n = std::min(count, text.size() - at);
    std::copy_n(text.data() + at, n, to);
    at += n;
    return n;
  };
  TextWindows windows(read, tokenizer, piece_bytes);
  std::vector<int32_t> ids;
  int64_t done = 0;
  for (;;) {
    const std::vector<int32_t> next = windows.next(window);
    CHECK(next.size() <= window);
    CHECK(windows.bytes_done() >= done);
    done = windows.bytes_done();
    ids.insert(ids.end(), next.begin(), next.end());
    if (next.size() < window) break;
  }
  CHECK(done == static_cast<int64_t>(text.size()));
  CHECK(windows.next(window).empty());
  return ids;
}

}  // namespace

TEST_CASE("text read in pieces that end with lines has the ids of the whole text") {
  const Tokenizer tokenizer = qwen_tokenizer();
  std::string text = "A title\n\n  Indented, then\n\tcode: x = 1;\n";
  for (int i = 0; i < 60; ++i)
    text += "Line " + std::to_string(i * i) + ", of prose; don't split!\n" + (i % 7 ? "" : "\n\n ");
  const std::vector<int32_t> whole = tokenizer.encode(text);
  for (size_t piece_bytes : {64, 100, 1000, 1 << 20})
    for (size_t window : {1, 7, 512}) {
      CAPTURE(piece_bytes);
      CAPTURE(window);
      CHECK(read_all(tokenizer, text, piece_bytes, window) == whole);
    }
}

TEST_CASE("text without lines or words is cut between characters, and nothing is lost") {
  const Tokenizer tokenizer = byte_tokenizer();
  std::string euros, words;
  for (int i = 0; i < 50; ++i) euros += "\u20ac";
  for (int i = 0; i < 50; ++i) words += "word ";
  for (const std::string& text : {euros, words, std::string(100, '\n'), std::string(33, 'x')})
    for (size_t piece_bytes : {16, 17, 18, 32, 33})
      CHECK(tokenizer.decode(read_all(tokenizer, text, piece_bytes, 10)) == text);
  CHECK(read_all(tokenizer, "", 16, 4).empty());
}

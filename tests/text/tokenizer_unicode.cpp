// UTF-8 and normalization form C against the definitions in the Unicode standard.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "lib/text/unicode.h"

using namespace octet;

namespace {

std::string utf8(const std::vector<char32_t>& points) {
  std::string out;
  for (char32_t point : points) append_utf8(point, out);
  return out;
}

/// What a whole text of these bytes becomes.
std::string lossy(const std::string& bytes) {
  std::string out;
  if (append_complete_utf8(bytes, out) < bytes.size()) out += kReplacementCharacter;
  return out;
}

}  // namespace

TEST_CASE("every code point survives UTF-8, and nothing else is UTF-8") {
  for (char32_t point = 0; point < 0x110000; ++point) {
    if (point >= 0xD800 && point < 0xE000) continue;
    const std::string text = utf8({point});
    const Utf8Part part = utf8_part(text, 0);
    REQUIRE(part.kind == Utf8Part::Kind::character);
    REQUIRE(part.length == text.size());
    REQUIRE(part.code_point == point);
  }
  // Overlong, surrogates, beyond U+10FFFF, stray and missing continuation bytes.
  for (const char* bad : {"\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xED\xBF\xBF",
                          "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF",
                          "\x80", "\xC3", "\xE4\xBD", "\xF0\x9F\x98"}) {
    CAPTURE(bad);
    CHECK(find_invalid_utf8(std::string("plain ASCII text ") + bad) == 17);
  }
  CHECK(find_invalid_utf8("\xE4\xBD\xA0\xF0\x9F\x98\x80 and ASCII") == std::string::npos);
}

TEST_CASE("each maximal invalid part becomes one U+FFFD") {
  const std::string r(kReplacementCharacter);
  // Unicode 15, table 3-8 and 3-11.
  CHECK(lossy("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41") == r + r + r + r + r + r + r + r + "A");
  CHECK(lossy("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41") == r + r + r + r + "A");
  CHECK(lossy("\xED\xA0\x80") == r + r + r);
  CHECK(lossy("\xF0\x9F\x98") == r);
}

TEST_CASE("normalization form C composes, reorders and leaves the excluded alone") {
  CHECK(to_nfc(utf8({'e', 0x301})) == utf8({0xE9}));
  CHECK(to_nfc(utf8({0x212B})) == utf8({0xC5}));                     // ANGSTROM SIGN
  CHECK(to_nfc(utf8({0x1100, 0x1161, 0x11A8})) == utf8({0xAC01}));   // Hangul jamo
  CHECK(to_nfc(utf8({0x958})) == utf8({0x915, 0x93C}));              // composition exclusion
  CHECK(to_nfc(utf8({0x344})) == utf8({0x308, 0x301}));              // non-starter decomposition
  CHECK(to_nfc(utf8({'a', 0x301, 0x327})) == utf8({0xE1, 0x327}));   // 202 before 230
  CHECK(to_nfc(utf8({'a', 0x304, 0x301})) == utf8({0x101, 0x301}));  // blocked
  CHECK(to_nfc(utf8({0xFB01, 0x2460})) == utf8({0xFB01, 0x2460}));   // compatibility stays
  CHECK(to_nfc(utf8({0x1D15E})) == utf8({0x1D157, 0x1D165}));
  CHECK(to_nfc(std::string("a\0b", 3)) == std::string("a\0b", 3));
}

TEST_CASE("text without characters from U+0300 on never needs normalization") {
  for (char32_t point = 0; point < 0x300; ++point) {
    const std::string text = utf8({point, 'a', point});
    CHECK_FALSE(may_need_nfc(text));
    CHECK(to_nfc(text) == text);
  }
  CHECK(may_need_nfc(utf8({'e', 0x300})));
}

// Quadratic time would be hours, and fail by CTest's time limit.
TEST_CASE("a long run of combining marks takes no quadratic time") {
  std::string marks = "e";
  for (int i = 0; i < 1'000'000; ++i) marks += utf8({0x301, 0x327});
  const std::string normal = to_nfc(marks);
  CHECK(normal.substr(0, 2) == utf8({0x229}));  // e with cedilla
}

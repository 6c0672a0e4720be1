#pragma once
// UTF-8 that may be broken, and Unicode normalization form C.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace octet {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

/// What stands at one place of a byte string: a character, or a maximal part that can begin no
/// character (Unicode 15, section 3.9, "U+FFFD Substitution of Maximal Subparts").
struct Utf8Part {
  enum class Kind { character, invalid, incomplete };  ///< incomplete: cut off by the end
  Kind kind;
  uint32_t length;      ///< bytes, at least 1
  char32_t code_point;  ///< of a character
};

/// The part that begins at `at` < bytes.size().
Utf8Part utf8_part(std::string_view bytes, size_t at);

/// Where the first byte that is not UTF-8 stands; npos if all is well.
size_t find_invalid_utf8(std::string_view bytes);

void append_utf8(char32_t code_point, std::string& out);

/// Appends `bytes` to `out`, with U+FFFD for each maximal invalid part, up to an incomplete
/// character at the end. Returns how many bytes were used: all but at most 3.
size_t append_complete_utf8(std::string_view bytes, std::string& out);

/// False only if the text is in normalization form C whatever its characters are: none of them is
/// at or above U+0300.
bool may_need_nfc(std::string_view text);

/// Normalization form C. `text` is valid UTF-8.
std::string to_nfc(std::string_view text);

}  // namespace octet

#pragma once
// Python's string operations on UTF-8. What is no UTF-8 counts as one character for each maximal
// invalid part and is left as it is.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace octet::jinja {

/// str.isspace() of one character.
bool is_space(char32_t c);

enum class Side { left, right, both };
/// Without the characters of `chars`, or white space if there are none given.
std::string_view strip(std::string_view text, std::optional<std::string_view> chars, Side side);

/// In time linear in both sizes; npos if there is none.
size_t find_text(std::string_view text, std::string_view what, size_t from = 0);
size_t rfind_text(std::string_view text, std::string_view what);

/// At most `limit` cuts; a negative limit is none. Without separator: at runs of white space.
std::vector<std::string_view> split(std::string_view text,
                                    std::optional<std::string_view> separator, int64_t limit);
/// The cuts are counted from the end.
std::vector<std::string_view> split_right(std::string_view text,
                                          std::optional<std::string_view> separator, int64_t limit);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

/// At most `limit` replacements; a negative limit is none. Stops early once the result is longer
/// than `max_size`.
std::string replace(std::string_view text, std::string_view from, std::string_view to,
                    int64_t limit, size_t max_size);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
/// str.title(): every run of letters.
std::string title(std::string_view text);
/// The filter title: what follows white space, -, (, {, [ or <.
std::string title_words(std::string_view text);
std::string capitalize(std::string_view text);

enum class CharacterClass { alpha, digit, alphanumeric, space, upper, lower };
/// str.isalpha() and its like.
bool is_all(std::string_view text, CharacterClass kind);
/// str.isprintable() of one character.
bool is_printable(char32_t c);

/// How many characters.
size_t count_characters(std::string_view text);
/// Where each character begins, and the end.
std::vector<uint32_t> character_offsets(std::string_view text);

}  // namespace octet::jinja

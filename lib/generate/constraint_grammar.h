#pragma once
// What a constraint describes, as a tree: regular expressions and JSON schemas become one, and an
// automaton is made of it.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace octet {

struct CodeRange {
  uint32_t low, high;  ///< code points, both included
};

struct Grammar;
using GrammarPtr = std::shared_ptr<const Grammar>;

struct Grammar {
  enum class Kind {
    set,       ///< one code point out of ranges; of none: nothing matches
    sequence,  ///< the parts, one after another
    either,    ///< one of the parts
    list,      ///< the first part, least to most times, with the second part between
    members,   ///< the parts in order, each of which may be left out unless needed[i], separated
               ///< by the last part
  };
  Kind kind;
  std::vector<CodeRange> ranges;
  std::vector<GrammarPtr> parts;
  int64_t least = 0, most = 0;  ///< most -1: no limit
  std::vector<bool> needed;
};

GrammarPtr set_of(std::vector<CodeRange> ranges);
GrammarPtr sequence_of(std::vector<GrammarPtr> parts);
GrammarPtr either_of(std::vector<GrammarPtr> parts);
GrammarPtr list_of(GrammarPtr item, GrammarPtr separator, int64_t least, int64_t most);
GrammarPtr members_of(std::vector<GrammarPtr> parts, std::vector<bool> needed,
                      GrammarPtr separator);
GrammarPtr repeated(GrammarPtr item, int64_t least, int64_t most);
/// The text itself; it is UTF-8.
GrammarPtr literal(std::string_view text);

/// A regular expression's alternatives, and whether ^ and $ stand at their ends.
struct RegexAlternative {
  GrammarPtr grammar;
  bool begins = false, ends = false;
};
/// Errors: as Constraint::regex(). where: what the pattern is called in messages.
std::vector<RegexAlternative> parse_regex(std::string_view pattern, const std::string& where);

/// Texts that a whole regular expression matches.
GrammarPtr regex_grammar(std::string_view pattern, const std::string& where);
/// Errors: as Constraint::json_schema().
GrammarPtr json_schema_grammar(std::string_view schema);

/// The code points of a UTF-8 text. Errors: InvalidArgument.
std::vector<uint32_t> code_points(std::string_view text, const std::string& where);

/// Sorts, joins; and everything that is not in them.
std::vector<CodeRange> normalized(std::vector<CodeRange> ranges);
std::vector<CodeRange> complement(std::vector<CodeRange> ranges);
inline constexpr uint32_t last_code_point = 0x10ffff;

}  // namespace octet

// Regular expressions, read into a Grammar by recursive descent.
#include "lib/core/error.h"
#include "lib/generate/constraint_grammar.h"

namespace octet {
namespace {

constexpr int64_t max_repetition = 1000;
constexpr int max_depth = 100;

using Ranges = std::vector<CodeRange>;

const Ranges digits = {{'0', '9'}};
const Ranges word = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const Ranges space = {{'\t', '\r'}, {' ', ' '}};

class RegexParser {
 public:
  RegexParser(std::string_view pattern, const std::string& where)
      : where_(where), pattern_(code_points(pattern, where)) {}

  std::vector<RegexAlternative> parse() {
    std::vector<RegexAlternative> alternatives;
    do {
      RegexAlternative alternative;
      alternative.begins = take('^');
      alternative.grammar = sequence(0, &alternative.ends);
      alternatives.push_back(std::move(alternative));
    } while (take('|'));
    check(at_ == pattern_.size(), "there is no '(' for this ')'");
    return alternatives;
  }

 private:
  bool more() const { return at_ < pattern_.size(); }
  bool next_is(uint32_t code) const { return more() && pattern_[at_] == code; }
  bool take(uint32_t code) {
    if (!next_is(code)) return false;
    ++at_;
    return true;
  }
  void check(bool ok, const char* problem) const {
    require(ok, ErrorCode::InvalidArgument, where_, ", character ", at_, ": ", problem);
  }
  [[noreturn]] void unsupported(const char* what) const {
    fail(ErrorCode::Unsupported, where_, ", character ", at_, ": ", what, " is not known");
  }

  /// ends: set if a $ at the end was taken; null inside groups.
  GrammarPtr sequence(int depth, bool* ends) {
    check(depth < max_depth, "groups are nested too deeply");
    std::vector<GrammarPtr> parts;
    while (more() && !next_is('|') && !next_is(')')) {
      if (ends && next_is('$') && (at_ + 1 == pattern_.size() || pattern_[at_ + 1] == '|')) {
        ++at_;
        *ends = true;
        break;
      }
      parts.push_back(repetition(atom(depth)));
    }
    return sequence_of(std::move(parts));
  }

  GrammarPtr group(int depth) {
    if (take('?') && !take(':')) unsupported("'(?' other than '(?:'");
    std::vector<GrammarPtr> parts;
    do parts.push_back(sequence(depth + 1, nullptr));
    while (take('|'));
    check(take(')'), "a ')' is missing");
    return either_of(std::move(parts));
  }

  GrammarPtr atom(int depth) {
    const uint32_t code = pattern_[at_++];
    switch (code) {
      case '(':
        return group(depth);
      case '[':
        return set_of(bracket());
      case '.':
        return set_of(complement({{'\n', '\n'}}));
      case '\\':
        return set_of(escape());
      case '*':
      case '+':
      case '?':
      case '{':
        --at_;
        check(false, "there is nothing to repeat");
        break;
      case '^':
      case '$':
        --at_;
        unsupported("an anchor inside the expression");
      default:
        break;
    }
    return set_of({{code, code}});
  }

  GrammarPtr repetition(GrammarPtr item) {
    for (bool repeats = false;; repeats = true) {
      int64_t least = 0, most = -1;
      if (take('+'))
        least = 1;
      else if (take('?'))
        most = 1;
      else if (take('{'))
        counts(least, most);
      else if (!take('*'))
        return item;
      if (repeats) {
        --at_;
        unsupported("a repetition of a repetition (also: lazy, possessive)");
      }
      item = repeated(std::move(item), least, most);
    }
  }

  int64_t number() {
    int64_t value = 0;
    check(more() && pattern_[at_] >= '0' && pattern_[at_] <= '9', "a number is missing");
    while (more() && pattern_[at_] >= '0' && pattern_[at_] <= '9') {
      value = value * 10 + (pattern_[at_++] - '0');
      check(value <= max_repetition, "a repetition of more than 1000 times");
    }
    return value;
  }

  void counts(int64_t& least, int64_t& most) {
    least = most = number();
    if (take(',')) most = next_is('}') ? -1 : number();
    check(take('}'), "a '}' is missing");
    check(most < 0 || least <= most, "the repetition's limits are the wrong way round");
  }

  uint32_t hexadecimal(int count) {
    uint32_t value = 0;
    for (int i = 0; i < count; ++i) {
      check(more(), "a hexadecimal digit is missing");
      const uint32_t code = pattern_[at_++];
      const uint32_t digit = code >= '0' && code <= '9'   ? code - '0'
                             : code >= 'a' && code <= 'f' ? code - 'a' + 10
                             : code >= 'A' && code <= 'F' ? code - 'A' + 10
                                                          : 16;
      check(digit < 16, "a hexadecimal digit is missing");
      value = value * 16 + digit;
    }
    check(value < 0xd800 || value > 0xdfff, "half a surrogate pair");
    return value;
  }

  Ranges escape() {
    check(more(), "nothing follows '\\'");
    const uint32_t code = pattern_[at_++];
    const auto one = [](uint32_t c) { return Ranges{{c, c}}; };
    switch (code) {
      case 'd':
        return digits;
      case 'D':
        return complement(digits);
      case 'w':
        return word;
      case 'W':
        return complement(word);
      case 's':
        return space;
      case 'S':
        return complement(space);
      case 'n':
        return one('\n');
      case 'r':
        return one('\r');
      case 't':
        return one('\t');
      case 'f':
        return one('\f');
      case 'v':
        return one('\v');
      case 'x':
        return one(hexadecimal(2));
      case 'u':
        return one(hexadecimal(4));
      default:
        break;
    }
    const bool letter = (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z') ||
                        (code >= 'a' && code <= 'z');
    if (letter) unsupported("this escape");
    return one(code);
  }

  /// What stands between [ and ].
  Ranges bracket() {
    const bool negated = take('^');
    Ranges ranges;
    do {
      check(more(), "a ']' is missing");
      const Ranges first = bracket_part();
      if (next_is('-') && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']') {
        ++at_;
        const Ranges last = bracket_part();
        const bool single = first.size() == 1 && first[0].low == first[0].high &&
                            last.size() == 1 && last[0].low == last[0].high;
        check(single && first[0].low <= last[0].low, "a range that is none");
        ranges.push_back({first[0].low, last[0].low});
      } else {
        ranges.insert(ranges.end(), first.begin(), first.end());
      }
    } while (!take(']'));
    return negated ? complement(std::move(ranges)) : ranges;
  }

  Ranges bracket_part() {
    check(more(), "a ']' is missing");
    const uint32_t code = pattern_[at_++];
    return code == '\\' ? escape() : Ranges{{code, code}};
  }

  const std::string& where_;
  std::vector<uint32_t> pattern_;
  size_t at_ = 0;
};

}  // namespace

std::vector<RegexAlternative> parse_regex(std::string_view pattern, const std::string& where) {
  return RegexParser(pattern, where).parse();
}

}  // namespace octet

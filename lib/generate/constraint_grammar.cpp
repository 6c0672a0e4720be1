#include "lib/generate/constraint_grammar.h"

#include <algorithm>

#include "lib/core/error.h"
#include "lib/text/unicode.h"

namespace octet {
namespace {

GrammarPtr make(Grammar grammar) {
  return std::make_shared<const Grammar>(std::move(grammar));
}

}  // namespace

GrammarPtr set_of(std::vector<CodeRange> ranges) {
  return make({Grammar::Kind::set, normalized(std::move(ranges)), {}, 0, 0, {}});
}
GrammarPtr sequence_of(std::vector<GrammarPtr> parts) {
  return make({Grammar::Kind::sequence, {}, std::move(parts), 0, 0, {}});
}
GrammarPtr either_of(std::vector<GrammarPtr> parts) {
  return make({Grammar::Kind::either, {}, std::move(parts), 0, 0, {}});
}
GrammarPtr list_of(GrammarPtr item, GrammarPtr separator, int64_t least, int64_t most) {
  return make({Grammar::Kind::list, {}, {std::move(item), std::move(separator)}, least, most, {}});
}
GrammarPtr members_of(std::vector<GrammarPtr> parts, std::vector<bool> needed,
                      GrammarPtr separator) {
  parts.push_back(std::move(separator));
  return make({Grammar::Kind::members, {}, std::move(parts), 0, 0, std::move(needed)});
}
GrammarPtr repeated(GrammarPtr item, int64_t least, int64_t most) {
  return list_of(std::move(item), sequence_of({}), least, most);
}

GrammarPtr literal(std::string_view text) {
  std::vector<GrammarPtr> parts;
  for (uint32_t code : code_points(text, "a literal")) parts.push_back(set_of({{code, code}}));
  return sequence_of(std::move(parts));
}

GrammarPtr regex_grammar(std::string_view pattern, const std::string& where) {
  std::vector<GrammarPtr> parts;
  for (RegexAlternative& alternative : parse_regex(pattern, where))
    parts.push_back(std::move(alternative.grammar));
  return either_of(std::move(parts));
}

std::vector<uint32_t> code_points(std::string_view text, const std::string& where) {
  require(find_invalid_utf8(text) == text.npos, ErrorCode::InvalidArgument, where, " is not UTF-8");
  std::vector<uint32_t> codes;
  for (size_t at = 0; at < text.size();) {
    const Utf8Part part = utf8_part(text, at);
    codes.push_back(part.code_point);
    at += part.length;
  }
  return codes;
}

std::vector<CodeRange> normalized(std::vector<CodeRange> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const CodeRange& a, const CodeRange& b) { return a.low < b.low; });
  std::vector<CodeRange> joined;
  for (const CodeRange& range : ranges)
    if (!joined.empty() && range.low <= joined.back().high + 1)
      joined.back().high = std::max(joined.back().high, range.high);
    else
      joined.push_back(range);
  return joined;
}

std::vector<CodeRange> complement(std::vector<CodeRange> ranges) {
  std::vector<CodeRange> rest;
  uint32_t next = 0;
  for (const CodeRange& range : normalized(std::move(ranges))) {
    if (range.low > next) rest.push_back({next, range.low - 1});
    next = range.high + 1;
  }
  if (next <= last_code_point) rest.push_back({next, last_code_point});
  return rest;
}

}  // namespace octet

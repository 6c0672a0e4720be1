#include "lib/io/name_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <new>

#include "lib/core/error.h"

namespace octet {
namespace {

constexpr size_t max_pattern_bytes = 4096;
constexpr uint32_t max_nesting = 50;
/// Steps of one search. Names are short: what needs more was made to need more.
constexpr uint32_t max_steps = 5000;

PCRE2_SPTR units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

}  // namespace

void NamePattern::Free::operator()(pcre2_code* code) const {
  pcre2_code_free(code);
}

NamePattern::NamePattern(std::string_view pattern, const std::string& where)
    : pattern_(pattern), where_(where) {
  require(pattern.size() <= max_pattern_bytes, ErrorCode::InvalidFile, where, ": a pattern of ",
          pattern.size(), " bytes, at most ", max_pattern_bytes, " expected");
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  if (!context) throw std::bad_alloc();
  pcre2_set_parens_nest_limit(context.get(), max_nesting);
  int code = 0;
  PCRE2_SIZE at = 0;
  code_.reset(pcre2_compile(units(pattern), pattern.size(), PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C,
                            &code, &at, context.get()));
  if (code_) return;
  PCRE2_UCHAR message[128] = {};
  pcre2_get_error_message(code, message, sizeof message);
  fail(ErrorCode::InvalidFile, where, ": pattern \"", pattern.substr(0, 200),
       "\": ", reinterpret_cast<const char*>(message), " at ", at);
}

bool NamePattern::matches(std::string_view name, bool whole) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
  const std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context(
      pcre2_match_context_create(nullptr), pcre2_match_context_free);
  if (!data || !context) throw std::bad_alloc();
  pcre2_set_match_limit(context.get(), max_steps);
  const uint32_t options = PCRE2_ANCHORED | (whole ? PCRE2_ENDANCHORED : 0);
  const int result =
      pcre2_match(code_.get(), units(name), name.size(), 0, options, data.get(), context.get());
  require(result >= 0 || result == PCRE2_ERROR_NOMATCH, ErrorCode::InvalidFile, where_,
          ": pattern \"", std::string_view(pattern_).substr(0, 200), "\" takes too long on \"",
          name, "\"");
  return result >= 0;
}

}  // namespace octet

#include "lib/text/bpe_split.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <new>

#include "lib/core/error.h"

namespace octet {
namespace {

constexpr size_t kMaxPatternBytes = 8192;
constexpr uint32_t kParensLimit = 50;
constexpr uint32_t kHeapLimitKib = 64 * 1024;
// A run of spaces a megabyte long takes about as many steps, so the limit grows with the text.
constexpr uint32_t kMatchLimit = 100'000;
constexpr uint32_t kMatchLimitPerByte = 4;

/// Rewrites a pattern for Oniguruma, character by character, into one that means the same to
/// PCRE2; refuses what has another meaning there.
class PatternTranslator {
 public:
  PatternTranslator(std::string_view pattern, const std::string& where)
      : pattern_(pattern), where_(where) {}

  std::string translate() {
    for (at_ = 0; at_ < pattern_.size(); ++at_) {
      const char c = pattern_[at_];
      if (c == '\\') {
        escape();
      } else {
        check(c);
        in_class_ = in_class_ ? c != ']' : c == '[';
        out_ += c;
      }
    }
    return std::move(out_);
  }

 private:
  void escape() {
    ++at_;
    require(at_ < pattern_.size(), ErrorCode::InvalidFile, where_, ": split pattern \"", pattern_,
            "\" ends in a backslash");
    const char c = pattern_[at_];
    // PCRE2 counts U+180E among \s; Unicode's White_Space, and Oniguruma, do not.
    if (c == 's' || c == 'S') {
      out_ += c == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
      return;
    }
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    constexpr std::string_view kSame = "pPdDrntfx";
    if (letter && kSame.find(c) == kSame.npos) refuse(std::string("escape \\") + c);
    out_ += '\\';
    out_ += c;
  }

  void check(char c) const {
    const char next = at_ + 1 < pattern_.size() ? pattern_[at_ + 1] : '\0';
    if (in_class_) {
      if (c == '[') refuse("a class inside a class");
      if (c == '&' && next == '&') refuse("an intersection of classes");
    } else if (c == '^' || c == '$') {
      refuse(std::string("anchor ") + c);
    } else if (c == '(' && next == '*') {
      refuse("a verb (*");
    }
  }

  [[noreturn]] void refuse(const std::string& what) const {
    fail(ErrorCode::Unsupported, where_, ": ", what, " in the split pattern \"", pattern_, "\"");
  }

  std::string_view pattern_;
  const std::string& where_;
  std::string out_;
  size_t at_ = 0;
  bool in_class_ = false;
};

pcre2_code* compile(const std::string& pattern, const std::string& where) {
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  if (!context) throw std::bad_alloc();
  pcre2_set_max_pattern_length(context.get(), kMaxPatternBytes);
  pcre2_set_parens_nest_limit(context.get(), kParensLimit);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* regex =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, context.get());
  if (!regex) {
    PCRE2_UCHAR message[128] = {};
    pcre2_get_error_message(code, message, sizeof message);
    fail(ErrorCode::InvalidFile, where, ": split pattern \"", pattern.substr(0, 200),
         "\": ", reinterpret_cast<const char*>(message), " at ", at);
  }
  // Without just-in-time compilation (no executable memory) the interpreter does the same slowly.
  pcre2_jit_compile(regex, PCRE2_JIT_COMPLETE);
  return regex;
}

}  // namespace

RegexScratch::RegexScratch()
    : data_(pcre2_match_data_create(1, nullptr)), context_(pcre2_match_context_create(nullptr)) {
  if (data_ && context_) {
    pcre2_set_heap_limit(context_, kHeapLimitKib);
    return;
  }
  pcre2_match_data_free(data_);
  pcre2_match_context_free(context_);
  throw std::bad_alloc();
}

RegexScratch::~RegexScratch() {
  pcre2_match_data_free(data_);
  pcre2_match_context_free(context_);
}

void Regex::Free::operator()(pcre2_code* code) const {
  pcre2_code_free(code);
}

Regex::Regex(std::string_view pattern, std::string where) : where_(std::move(where)) {
  require(pattern.size() <= kMaxPatternBytes, ErrorCode::InvalidFile, where_,
          ": a split pattern of ", pattern.size(), " bytes, at most ", kMaxPatternBytes,
          " are allowed");
  code_.reset(compile(PatternTranslator(pattern, where_).translate(), where_));
}

bool Regex::find(std::string_view text, size_t from, Match& match, RegexScratch& scratch) const {
  const size_t limit = kMatchLimit + kMatchLimitPerByte * (text.size() - from);
  pcre2_set_match_limit(scratch.context_,
                        static_cast<uint32_t>(std::min<size_t>(limit, UINT32_MAX)));
  auto run = [&](uint32_t options) {
    return pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                       options | PCRE2_NO_UTF_CHECK, scratch.data_, scratch.context_);
  };
  int result = run(0);
  // Compiled code has 32 KiB of stack; the interpreter may use the heap.
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = run(PCRE2_NO_JIT);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0) {
    PCRE2_UCHAR message[128] = {};
    pcre2_get_error_message(result, message, sizeof message);
    fail(ErrorCode::InvalidFile, where_, ": the split pattern fails on a text of ", text.size(),
         " bytes: ", reinterpret_cast<const char*>(message));
  }
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(scratch.data_);
  match = {bounds[0], bounds[1]};
  // \K inside a lookahead can put the start behind the end; escape() lets no \K through.
  require(from <= match.begin && match.begin <= match.end, ErrorCode::Internal, where_,
          ": PCRE2 found a match from ", match.begin, " to ", match.end);
  return true;
}

size_t Regex::next_character(std::string_view text, size_t at) {
  do ++at;
  while (at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80);
  return at;
}

}  // namespace octet

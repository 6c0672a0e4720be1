#pragma once
// The pre-tokenizer: regular expressions that cut text into words before BPE.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;

namespace octet {

/// One step of a pre-tokenizer; each works on the pieces that the one before it left.
struct SplitStep {
  std::string pattern;        ///< pieces are its matches and what lies between; empty: no cut
  bool prefix_space = false;  ///< first, a piece that does not begin with a space gets one
};

/// What one thread needs while it matches.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;

 private:
  friend class Regex;
  pcre2_real_match_data_8* data_;
  pcre2_real_match_context_8* context_;
};

/// A compiled pattern. Shared between threads.
class Regex {
 public:
  /// `where` names the file in errors. Errors: InvalidFile if the pattern is broken or too large;
  /// Unsupported for syntax that Oniguruma (which the files are written for) and PCRE2 read in
  /// two ways.
  Regex(std::string_view pattern, std::string where);

  struct Match {
    size_t begin, end;
  };
  /// The first match that begins at or after `from`; false if there is none. `text` is UTF-8.
  /// Errors: InvalidFile if the pattern backtracks beyond all reason.
  bool find(std::string_view text, size_t from, Match& match, RegexScratch& scratch) const;

  /// Calls on_piece(std::string_view) for each match and for what lies between matches, in order;
  /// never with an empty piece.
  template <class OnPiece>
  void split(std::string_view text, RegexScratch& scratch, const OnPiece& on_piece) const {
    size_t done = 0, from = 0;
    for (Match match; from < text.size() && find(text, from, match, scratch);) {
      if (match.begin > done) on_piece(text.substr(done, match.begin - done));
      if (match.end > match.begin) on_piece(text.substr(match.begin, match.end - match.begin));
      done = match.end;
      from = match.end > match.begin ? match.end : next_character(text, match.end);
    }
    if (done < text.size()) on_piece(text.substr(done));
  }

 private:
  static size_t next_character(std::string_view text, size_t at);
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  std::string where_;
  std::unique_ptr<pcre2_real_code_8, Free> code_;
};

}  // namespace octet

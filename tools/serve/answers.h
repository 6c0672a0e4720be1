#pragma once
#include <vector>

#include "tools/serve/exchange.h"
#include "tools/serve/sampling.h"
#include "tools/serve/service.h"

namespace octet::serve {

/// A part of one of a request's answers.
struct AnswerPart {
  size_t choice = 0;
  GenerationPiece piece;
  bool end = false;     ///< the last part of this choice; the piece is empty
  GenerateStats stats;  ///< at the end
};

/// A whole answer.
struct Answer {
  std::string text, reasoning;
  std::vector<GeneratedToken> tokens;  ///< of the text
  StopReason stop = StopReason::none;
};

/// The answers to one HTTP request, made at the same time: `choices` of each prompt. They are
/// cancelled with this object, and when the client goes away.
class Answers {
 public:
  /// Queues all of them. Errors: ApiError (also 429); Error.
  Answers(Service& service, Exchange& exchange, std::vector<std::vector<int32_t>> prompts,
          const GenerationFields& fields);

  size_t size() const { return generations_.size(); }
  /// The next part of any; false after the ends of all. Errors: ClientGone within 50 ms after the
  /// client went away; ApiError 503 if the server ended the work; Error.
  bool next(AnswerPart& part);
  /// All parts, put together. Errors: as next().
  std::vector<Answer> collect();

  /// {"usage": ...}, complete after the end.
  Json usage() const;

 private:
  size_t next_active();
  bool poll(size_t choice, double seconds, AnswerPart& part);
  void account(const GenerateStats& stats, size_t choice);

  Exchange& exchange_;
  const bool log_content_;
  const size_t choices_;
  std::vector<Generation> generations_;
  std::vector<bool> ended_;
  size_t active_ = 0;
  size_t turn_ = 0;  // whose part was asked for last
  int64_t reasoning_tokens_ = 0;
};

}  // namespace octet::serve

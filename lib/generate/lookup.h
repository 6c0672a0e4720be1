#pragma once
#include <octet/session.h>

#include <array>
#include <span>

#include "lib/generate/answer.h"
#include "lib/generate/draft_length.h"
#include "lib/generate/ngram_index.h"
#include "lib/generate/row_copies.h"

namespace octet {

/// Prompt lookup: where the sequence repeats itself, the next ids are guessed from the earlier
/// place, and one step evaluates them all. The logits after a guess that turns out right are then
/// there already. They are those of the sequence so far, so that nothing else about a generation
/// changes (Saxena 2023, github.com/apoorvumang/prompt-lookup-decoding; verification by drawing
/// from the true distribution: Leviathan et al. 2023, arXiv:2211.17192).
class Lookup {
 public:
  /// Most ids guessed in a step: with the first row, one block of the AVX512-VNNI kernels.
  static constexpr int64_t max_draft = 11;

  Lookup(const Model& model, int64_t context);

  /// Appends `id` to the session's sequence and returns what suffices to draw the answer's next
  /// token, valid and the caller's to change until the next call. `most`: how many more tokens will
  /// be drawn. Errors: as Session::evaluate().
  RowLogits advance(Session& session, int32_t id, int64_t most, Answer& answer,
                    const CancelToken& cancel = {});

  /// The sequence was changed by others: what was evaluated ahead is void.
  void sequence_grew() { guesses_ = 0; }
  void sequence_cut(int64_t length);

 private:
  bool guessed(int32_t id);
  int64_t guess(const Session& session, int32_t id, int64_t most);
  void evaluate(Session& session, int64_t drafts, Answer& answer, const CancelToken& cancel);

  int64_t max_rows_;
  NgramIndex index_;
  DraftLength length_;
  std::array<int32_t, 1 + max_draft> ids_{};  ///< the last step's id, then guesses of the next
  int64_t match_ = 0;                         ///< ids that agreed where the guesses come from
  int64_t guesses_ = 0;
  int64_t right_ = 0;      ///< guesses that turned out right so far
  int64_t evaluated_ = 0;  ///< guesses that were rows of the last step
  RowCopies rows_;
};

}  // namespace octet

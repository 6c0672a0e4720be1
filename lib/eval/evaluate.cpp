#include <octet/eval.h>
#include <octet/session.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "lib/core/error.h"
#include "lib/eval/divergence.h"
#include "lib/eval/eval_options.h"
#include "lib/eval/text_windows.h"

namespace octet {
namespace {

/// Rows whose logits of the reference are kept at a time.
constexpr size_t rows_at_a_time = 64;

/// Scores windows of one text, piece by piece.
class Evaluator {
 public:
  Evaluator(const Model& model, const Model* reference, const EvalOptions& options)
      : session_(model, {.context = options.context}), skip_(options.skip) {
    if (reference) reference_.emplace(*reference, SessionOptions{.context = options.context});
  }

  /// Every token from skip_ on is predicted from those before it.
  void window(std::span<const int32_t> ids) {
    session_.truncate(0);
    if (reference_) reference_->truncate(0);
    const size_t inputs = ids.size() - 1;
    for (size_t begin = 0; begin < inputs; begin += rows_at_a_time) {
      const size_t count = std::min(rows_at_a_time, inputs - begin);
      piece(ids.subspan(begin, count), ids.subspan(begin + 1, count));
    }
  }

  int64_t tokens() const { return tokens_; }
  EvalReport report() const;

 private:
  void piece(std::span<const int32_t> ids, std::span<const int32_t> targets) {
    const auto vocab = static_cast<size_t>(session_.model().config().vocab_size);
    reference_logits_.resize(reference_ ? ids.size() * vocab : 0);
    if (reference_)
      reference_->evaluate(ids, Session::Rows::all, [&](int64_t row, std::span<const float> l) {
        std::copy(l.begin(), l.end(), reference_logits_.data() + static_cast<size_t>(row) * vocab);
      });
    const int64_t first = session_.size();
    session_.evaluate(ids, Session::Rows::all, [&](int64_t row, std::span<const float> logits) {
      if (first + row + 1 < skip_) return;
      const auto target = static_cast<size_t>(targets[static_cast<size_t>(row)]);
      const Prediction prediction(logits);
      nll_ += prediction.nll(target);
      ++tokens_;
      if (!reference_) return;
      const float* expected = reference_logits_.data() + static_cast<size_t>(row) * vocab;
      divergence_.add(Prediction({expected, vocab}), prediction, target);
    });
  }

  Session session_;
  std::optional<Session> reference_;
  std::vector<float> reference_logits_;
  int64_t skip_;
  int64_t tokens_ = 0;
  double nll_ = 0;
  Divergence divergence_;
};

EvalReport Evaluator::report() const {
  EvalReport report;
  report.tokens = tokens_;
  report.nll = nll_ / static_cast<double>(tokens_);
  report.perplexity = std::exp(report.nll);
  if (reference_) report.comparison = divergence_.comparison();
  return report;
}

void check(const Model& model, const Model* reference, const EvalOptions& options) {
  check_options(options);
  if (!reference) return;
  require(reference->config().vocab_size == model.config().vocab_size, ErrorCode::InvalidArgument,
          "evaluate: the reference has a vocabulary of ", reference->config().vocab_size,
          ", the model one of ", model.config().vocab_size);
}

}  // namespace

void check_options(const EvalOptions& options) {
  require(options.context >= 2, ErrorCode::InvalidArgument, "evaluate: windows of ",
          options.context, " tokens, at least 2 expected");
  require(options.skip >= 1 && options.skip < options.context, ErrorCode::InvalidArgument,
          "evaluate: ", options.skip, " tokens not scored of windows of ", options.context,
          ", 1 to ", options.context - 1, " expected");
  require(options.max_tokens >= 0, ErrorCode::InvalidArgument, "evaluate: max_tokens is ",
          options.max_tokens);
}

EvalReport evaluate(const Model& model, const Model* reference, TextReader read,
                    const EvalOptions& options, Progress progress) {
  check(model, reference, options);
  TextWindows text(read, model.tokenizer());
  Evaluator evaluator(model, reference, options);
  const int64_t limit =
      options.max_tokens > 0 ? options.max_tokens : std::numeric_limits<int64_t>::max();
  for (int64_t used = 0; used < limit;) {
    const std::vector<int32_t> ids =
        text.next(static_cast<size_t>(std::min(options.context, limit - used)));
    if (ids.size() < 2) break;
    evaluator.window(ids);
    used += static_cast<int64_t>(ids.size());
    const bool goes_on =
        !progress.call ||
        (options.max_tokens > 0
             ? progress.call(progress.context, used, options.max_tokens)
             : progress.call(progress.context, text.bytes_done(), options.text_bytes));
    require(goes_on, ErrorCode::Cancelled, "cancelled after ", used, " tokens");
  }
  require(evaluator.tokens() > 0, ErrorCode::InvalidArgument,
          "evaluate: the text has no token to score: it is shorter than ", options.skip + 1,
          " tokens");
  return evaluator.report();
}

}  // namespace octet

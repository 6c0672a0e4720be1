#pragma once
#include <octet/export.h>
#include <octet/function_ref.h>
#include <octet/model.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace OCTET_EXPORT octet {

struct EvalOptions {
  int64_t context = 512;   ///< tokens of a window, at least 2
  int64_t skip = 1;        ///< tokens at a window's beginning that are not scored, at least 1
  int64_t max_tokens = 0;  ///< use so many tokens of the text; 0: all
  int64_t text_bytes = 0;  ///< of the text, for the progress; 0: not known
};

/// How far a model's predictions are from a reference model's, over the scored positions. p is the
/// reference's distribution and q the model's.
struct EvalComparison {
  double kl_mean = 0;  ///< of sum p (ln p - ln q), in nats
  double kl_mean_error = 0;
  double kl_median = 0;  ///< quantiles are right within 0.05 %
  double kl_p99 = 0;
  double kl_max = 0;
  double top1_agreement = 0;  ///< share of positions where the likeliest id is the same
  double top5_agreement = 0;  ///< mean share of p's five likeliest ids that are among q's
  /// exp(mean(-ln q(next id) + ln p(next id))), and its standard error by the delta method: the
  /// ratio times the standard error of that mean.
  double perplexity_ratio = 0;
  double perplexity_ratio_error = 0;
};

struct EvalReport {
  int64_t tokens = 0;  ///< scored
  double nll = 0;      ///< mean -ln q(next id)
  double perplexity = 0;
  EvalComparison comparison;  ///< zeros without a reference
};

/// Reads up to `count` bytes of the text; fewer than that only at its end.
using TextReader = FunctionRef<size_t(char* bytes, size_t count)>;

/// Scores a text in windows of options.context tokens, cut one after another, without a token for
/// the beginning; the first options.skip tokens of a window are not scored. The text streams
/// through: memory beyond the models does not grow with it (below 100 MB for a vocabulary of
/// 152,000). reference: null for none; it has the model's vocabulary and tokenizer. Errors:
/// InvalidArgument if the vocabularies differ, or the text is not UTF-8 or shorter than two tokens;
/// Cancelled if progress says so; what `read` throws.
EvalReport evaluate(const Model& model, const Model* reference, TextReader read,
                    const EvalOptions& options = {}, Progress progress = {});

/// What one linear of a converted model costs.
struct LinearReport {
  std::string weight;  ///< its name; the embedding and the head come last
  std::string kind;    ///< "q", "k", "v", "o", "gate", "up", "down", "embed", "head"
  int64_t layer = -1;  ///< -1: in none
  /// Of its output, root mean square over all tokens, given the float model's input. Of gate and up
  /// it is their product's, of the head the logits'; 0 for the embedding, which is looked up.
  double relative_error = 0;
  double kl = 0;     ///< mean KL from the float model when this linear alone is int8, in nats
  double share = 0;  ///< of the sum of all kl
};

/// Puts each linear of a converted int8 model, as the file has it (one plane, two, fp16), alone
/// into the float model that it was converted from, and measures what that does over the first
/// options.max_tokens tokens of a text (0: 512), in windows of options.context (at most 4,096). Of
/// each window up to 64 positions are compared, evenly spaced behind options.skip. Takes as long as
/// evaluating the float model 3.5 times for each layer. Memory beyond the two models: a window's
/// residual stream for each layer, and 64 rows of logits. reference: the checkpoint. threads: as in
/// ModelOptions. Errors: as evaluate(); InvalidArgument if `model` is no converted int8 file, or
/// not converted from `reference`.
std::vector<LinearReport> evaluate_linears(const std::string& model, const std::string& reference,
                                           TextReader read, const EvalOptions& options = {},
                                           int threads = 0, Progress progress = {});

}  // namespace octet

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>

#include "common.h"

namespace octet::tools {
namespace {

struct EvalArguments : ModelArguments {
  std::string text_file, reference;
  std::string reference_scheme = "f32";
  int64_t context = 512;
  std::optional<int64_t> max_tokens;
};

/// Rows whose logits of the reference are kept at a time.
constexpr int64_t rows_at_a_time = 64;

/// What is collected over the scored positions.
struct Totals {
  int64_t tokens = 0;
  double nll = 0, reference_nll = 0;
  std::vector<double> kl;
  int64_t top1_equal = 0;
};

/// ln sum exp, and the place of the highest logit.
struct LogSum {
  double value = 0;
  size_t best = 0;

  explicit LogSum(std::span<const float> logits) {
    best = static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    double sum = 0;
    for (float logit : logits) sum += std::exp(static_cast<double>(logit) - logits[best]);
    value = logits[best] + std::log(sum);
  }
};

/// KL(reference || model) of one position, in nats.
double divergence(std::span<const float> reference, double reference_sum,
                  std::span<const float> model, double model_sum) {
  double kl = 0;
  for (size_t i = 0; i < model.size(); ++i) {
    const double log_p = reference[i] - reference_sum;
    kl += std::exp(log_p) * (log_p - (model[i] - model_sum));
  }
  return std::max(kl, 0.0);
}

/// Scores windows of one text, piece by piece.
class Evaluator {
 public:
  Evaluator(const Model& model, const std::optional<Model>& reference, int64_t context)
      : session_(model, {.context = context}) {
    if (reference) reference_.emplace(*reference, SessionOptions{.context = context});
  }

  /// Every token but the first is predicted from those before it.
  void window(std::span<const int32_t> ids) {
    session_.truncate(0);
    if (reference_) reference_->truncate(0);
    const size_t inputs = ids.size() - 1;
    for (size_t begin = 0; begin < inputs; begin += rows_at_a_time) {
      const size_t count = std::min<size_t>(rows_at_a_time, inputs - begin);
      piece(ids.subspan(begin, count), ids.subspan(begin + 1, count));
    }
  }

  const Totals& totals() const { return totals_; }

 private:
  void piece(std::span<const int32_t> ids, std::span<const int32_t> targets) {
    const auto vocab = static_cast<size_t>(session_.model().config().vocab_size);
    reference_logits_.resize(reference_ ? ids.size() * vocab : 0);
    if (reference_)
      reference_->evaluate(ids, Session::Rows::all, [&](int64_t row, std::span<const float> l) {
        std::copy(l.begin(), l.end(),
                  reference_logits_.begin() +
                      static_cast<std::ptrdiff_t>(row) * static_cast<std::ptrdiff_t>(vocab));
      });
    session_.evaluate(ids, Session::Rows::all, [&](int64_t row, std::span<const float> logits) {
      const auto target = static_cast<size_t>(targets[static_cast<size_t>(row)]);
      const LogSum sum(logits);
      totals_.nll += sum.value - logits[target];
      ++totals_.tokens;
      if (reference_)
        compare(logits, sum,
                std::span(reference_logits_).subspan(static_cast<size_t>(row) * vocab, vocab),
                target);
    });
  }

  void compare(std::span<const float> logits, const LogSum& sum, std::span<const float> reference,
               size_t target) {
    const LogSum reference_sum(reference);
    totals_.reference_nll += reference_sum.value - reference[target];
    totals_.kl.push_back(divergence(reference, reference_sum.value, logits, sum.value));
    totals_.top1_equal += sum.best == reference_sum.best;
  }

  Session session_;
  std::optional<Session> reference_;
  std::vector<float> reference_logits_;
  Totals totals_;
};

/// The value that `share` of the sorted values do not exceed.
double quantile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::min(sorted.size() - 1, std::max<size_t>(rank, 1) - 1)];
}

Json result_json(Totals totals) {
  const auto tokens = static_cast<double>(totals.tokens);
  Json result = {{"tokens", totals.tokens},
                 {"nll", number(totals.nll / tokens)},
                 {"perplexity", number(std::exp(totals.nll / tokens))}};
  if (totals.kl.empty()) return result;
  std::sort(totals.kl.begin(), totals.kl.end());
  double sum = 0;
  for (double kl : totals.kl) sum += kl;
  result["kl"] = {{"mean", number(sum / tokens)},
                  {"p99", number(quantile(totals.kl, 0.99))},
                  {"max", number(totals.kl.back())}};
  result["top1_agreement"] = static_cast<double>(totals.top1_equal) / tokens;
  result["perplexity_ratio"] = number(std::exp((totals.nll - totals.reference_nll) / tokens));
  return result;
}

void print(const Json& result) {
  std::printf("tokens scored     %lld\n", result["tokens"].get<long long>());
  const auto line = [](const char* name, const Json& value) {
    if (value.is_number()) std::printf("%-17s %.6g\n", name, value.get<double>());
  };
  line("mean nll", result["nll"]);
  line("perplexity", result["perplexity"]);
  if (!result.contains("kl")) return;
  line("KL mean", result["kl"]["mean"]);
  line("KL p99", result["kl"]["p99"]);
  line("KL max", result["kl"]["max"]);
  line("top-1 agreement", result["top1_agreement"]);
  line("perplexity ratio", result["perplexity_ratio"]);
}

Model open_reference(const EvalArguments& arguments) {
  ModelArguments reference = arguments;
  reference.path = arguments.reference;
  reference.scheme = arguments.reference_scheme;
  reference.kv_cache = ModelArguments().kv_cache;
  return reference.open();
}

void run(const EvalArguments& arguments) {
  const Model model = arguments.open();
  std::optional<Model> reference;
  if (!arguments.reference.empty()) reference = open_reference(arguments);
  if (reference && reference->config().vocab_size != model.config().vocab_size)
    throw Error(ErrorCode::InvalidArgument, arguments.reference + ": a vocabulary of " +
                                                std::to_string(reference->config().vocab_size) +
                                                ", but " + arguments.path + " has " +
                                                std::to_string(model.config().vocab_size));
  std::vector<int32_t> ids = model.tokenizer().encode(read_text(arguments.text_file));
  if (arguments.max_tokens && *arguments.max_tokens < static_cast<int64_t>(ids.size()))
    ids.resize(static_cast<size_t>(*arguments.max_tokens));
  if (ids.size() < 2)
    throw Error(
        ErrorCode::InvalidArgument,
        arguments.text_file + ": " + std::to_string(ids.size()) + " tokens, at least 2 expected");
  Evaluator evaluator(model, reference, arguments.context);
  ProgressBar bar("evaluating");
  for (size_t begin = 0; begin + 1 < ids.size(); begin += static_cast<size_t>(arguments.context)) {
    evaluator.window(std::span(ids).subspan(
        begin, std::min(static_cast<size_t>(arguments.context), ids.size() - begin)));
    bar.update(static_cast<int64_t>(begin), static_cast<int64_t>(ids.size()));
  }
  const Json result = result_json(evaluator.totals());
  arguments.json ? print_json(result) : print(result);
}

}  // namespace

void add_eval(CLI::App& app) {
  auto arguments = std::make_shared<EvalArguments>();
  CLI::App* command = app.add_subcommand(
      "eval", "perplexity over windows of a text, and the distance to a reference model");
  command->footer("Example: octet eval r1.int8.safetensors --text book.txt --against R1-Distill/");
  arguments->add_to(*command);
  command->add_option("--text", arguments->text_file, "the text, UTF-8")->required();
  command->add_option("--ctx", arguments->context, "tokens of a window")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 24));
  command->add_option("--max-tokens", arguments->max_tokens, "use the first N tokens")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 40));
  command->add_option("--against", arguments->reference, "a reference model to compare with");
  command
      ->add_option("--against-scheme", arguments->reference_scheme,
                   "scheme of a reference that is not converted")
      ->capture_default_str();
  command->callback([arguments] { run(*arguments); });
}

}  // namespace octet::tools

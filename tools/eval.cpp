#include <octet/eval.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>

#include "common.h"
#include "svg_plot.h"

namespace octet::tools {
namespace {

struct EvalArguments : ModelArguments {
  std::string text_file, reference, plot;
  bool layers = false;
  std::string reference_scheme = "f32";
  int64_t context = 512, skip = 1;
  int64_t max_tokens = 0;
};

Json result_json(const EvalReport& report, bool compared) {
  Json result = {{"tokens", report.tokens},
                 {"nll", number(report.nll)},
                 {"perplexity", number(report.perplexity)}};
  if (!compared) return result;
  const EvalComparison& c = report.comparison;
  result["kl"] = {{"mean", number(c.kl_mean)},
                  {"standard_error", number(c.kl_mean_error)},
                  {"median", number(c.kl_median)},
                  {"p99", number(c.kl_p99)},
                  {"max", number(c.kl_max)}};
  result["top1_agreement"] = c.top1_agreement;
  result["top5_agreement"] = c.top5_agreement;
  result["perplexity_ratio"] = number(c.perplexity_ratio);
  result["perplexity_ratio_standard_error"] = number(c.perplexity_ratio_error);
  return result;
}

void print(const Json& result) {
  const auto value = [&](const char* pointer) {
    const Json& found = result.at(Json::json_pointer(pointer));
    return found.is_number() ? found.get<double>() : std::nan("");
  };
  std::printf("tokens scored     %lld\n", result["tokens"].get<long long>());
  std::printf("mean nll          %.6g\n", value("/nll"));
  std::printf("perplexity        %.6g\n", value("/perplexity"));
  if (!result.contains("kl")) return;
  std::printf("KL mean           %.6g +- %.2g\n", value("/kl/mean"), value("/kl/standard_error"));
  std::printf("KL median         %.6g\n", value("/kl/median"));
  std::printf("KL p99            %.6g\n", value("/kl/p99"));
  std::printf("KL max            %.6g\n", value("/kl/max"));
  std::printf("top-1 agreement   %.2f %%\n", 100 * value("/top1_agreement"));
  std::printf("top-5 agreement   %.2f %%\n", 100 * value("/top5_agreement"));
  std::printf("perplexity ratio  %.6g +- %.2g\n", value("/perplexity_ratio"),
              value("/perplexity_ratio_standard_error"));
}

Json linears_json(const std::vector<LinearReport>& linears) {
  Json list = Json::array();
  for (const LinearReport& linear : linears)
    list.push_back({{"weight", linear.weight},
                    {"relative_error", number(linear.relative_error)},
                    {"kl", number(linear.kl)},
                    {"share", number(linear.share)}});
  return list;
}

/// A row a layer and two columns a linear; then the embedding and the head.
void print_linears(const std::vector<LinearReport>& linears) {
  std::printf(
      "error of the output in %%, share of the KL in %%, when one linear alone is int8\nlayer");
  for (const LinearReport& linear : linears)
    if (linear.layer == 0) std::printf("%14s", linear.kind.c_str());
  double sum = 0;
  int64_t layer = -1;
  for (const LinearReport& linear : linears) {
    if (linear.layer < 0)
      std::printf("\n%-14s", linear.kind.c_str());
    else if (linear.layer != layer)
      std::printf("\n%5lld", static_cast<long long>(linear.layer));
    layer = linear.layer;
    std::printf("%8.2f%6.2f", 100 * linear.relative_error, 100 * linear.share);
    sum += linear.kl;
  }
  std::printf("\nsum of the KL of each alone  %.6g\n", sum);
}

/// The KL of each linear: a bar a layer, then, apart, one for the embedding and one for the head,
/// whose part comes after those of the layers.
StackedBars bars_of(const std::vector<LinearReport>& linears, const std::string& model) {
  StackedBars bars;
  bars.title = "KL divergence when one linear alone is int8: " + model;
  bars.unit = "nats";
  bars.below = "layer";
  for (const LinearReport& linear : linears)
    if (linear.layer == 0) bars.parts.push_back(linear.kind);
  const std::vector<double> none(bars.parts.size());
  bars.parts.push_back("embedding, head");
  for (const LinearReport& linear : linears) {
    if (linear.layer < 0) {
      bars.bars.push_back({});
      bars.bars.push_back({linear.kind, none});
    } else if (linear.layer >= std::ssize(bars.bars)) {
      bars.bars.push_back({std::to_string(linear.layer), {}});
    }
    bars.bars.back().values.push_back(linear.kl);
  }
  return bars;
}

void write_plot(const std::string& path, const StackedBars& bars) {
  std::ofstream file(path, std::ios::binary);
  file << to_svg(bars) << std::flush;
  if (!file) throw Error(ErrorCode::Io, path + ": cannot write");
}

Model open_reference(const EvalArguments& arguments) {
  ModelArguments reference = arguments;
  reference.path = arguments.reference;
  reference.scheme = arguments.reference_scheme;
  reference.kv_cache = ModelArguments().kv_cache;
  reference.exact = false;  // is refused where matrices are fp16, as the reference's may be
  reference.rotation = "auto";
  return reference.open();
}

/// A text to read from a file, or from stdin for "-".
class TextFile {
 public:
  explicit TextFile(const std::string& path)
      : path_(path), in_(path == "-" ? std::cin : static_cast<std::istream&>(file_)) {
    if (path == "-") return;
    file_.open(path, std::ios::binary | std::ios::ate);
    bytes_ = file_ ? static_cast<int64_t>(file_.tellg()) : 0;
    file_.seekg(0);
    if (!file_) throw Error(ErrorCode::Io, path + ": cannot open");
  }
  int64_t bytes() const { return bytes_; }  ///< 0: not known
  size_t read(char* to, size_t count) {
    in_.read(to, static_cast<std::streamsize>(count));
    if (in_.bad()) throw Error(ErrorCode::Io, path_ + ": cannot read");
    return static_cast<size_t>(in_.gcount());
  }

 private:
  std::string path_;
  std::ifstream file_;
  std::istream& in_;
  int64_t bytes_ = 0;
};

/// The first `max_tokens` tokens, from the beginning of the file again.
std::vector<LinearReport> run_linears(const EvalArguments& arguments) {
  TextFile text(arguments.text_file);
  ProgressBar bar("evaluating linears");
  return evaluate_linears(
      arguments.path, arguments.reference,
      [&](char* to, size_t count) { return text.read(to, count); },
      {.context = arguments.context, .skip = arguments.skip, .max_tokens = arguments.max_tokens},
      arguments.threads, bar.progress());
}

void check_layers(const EvalArguments& arguments) {
  if (!arguments.layers) return;
  if (arguments.reference.empty())
    throw Error(ErrorCode::InvalidArgument, "--layers: --against REF expected, the checkpoint");
  if (arguments.text_file == "-")
    throw Error(ErrorCode::InvalidArgument, "--layers: the text is read twice, a file expected");
}

void run(const EvalArguments& arguments) {
  check_layers(arguments);
  const Model model = arguments.open();
  std::optional<Model> reference;
  if (!arguments.reference.empty()) reference = open_reference(arguments);
  TextFile text(arguments.text_file);
  EvalReport report;
  {
    ProgressBar bar("evaluating");
    report = evaluate(
        model, reference ? &*reference : nullptr,
        [&](char* to, size_t count) { return text.read(to, count); },
        {.context = arguments.context,
         .skip = arguments.skip,
         .max_tokens = arguments.max_tokens,
         .text_bytes = text.bytes()},
        bar.progress());
  }
  Json result = result_json(report, reference.has_value());
  if (!arguments.json) print(result);
  if (arguments.layers) {
    reference.reset();  // the linears' run holds weights of its own
    const std::vector<LinearReport> linears = run_linears(arguments);
    if (!arguments.plot.empty()) write_plot(arguments.plot, bars_of(linears, arguments.path));
    if (!arguments.json) print_linears(linears);
    result["linears"] = linears_json(linears);
  }
  if (arguments.json) print_json(result);
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
  command->add_option("--skip", arguments->skip, "tokens at a window's beginning not to score")
      ->capture_default_str();
  command->add_option("--max-tokens", arguments->max_tokens, "use the first N tokens")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 40));
  command->add_option("--against", arguments->reference, "a reference model to compare with");
  command
      ->add_option("--against-scheme", arguments->reference_scheme,
                   "scheme of a reference that is not converted")
      ->capture_default_str();
  CLI::Option* layers =
      command->add_flag("--layers", arguments->layers,
                        "what each linear costs: MODEL (a converted file) against the checkpoint "
                        "it was made from, one "
                        "linear at a time, over the first 512 tokens (or --max-tokens)");
  command->add_option("--plot", arguments->plot, "write that as a picture, F.svg")->needs(layers);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace octet::tools

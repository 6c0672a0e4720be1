#include <octet/quant.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>

#include "common.h"
#include "interrupt.h"

namespace octet::tools {
namespace {

struct ConvertArguments : CommonOptions {
  std::vector<std::string> lora;
  std::string source, output, scheme = "w8a8", rotation = "auto", mixed = automatic_mixed,
                              calibrate = "builtin", budget = "kl=0.0015";
};

/// "kl=0.0015"
double parse_budget(const std::string& text) {
  const std::string prefix = "kl=";
  size_t used = 0;
  double value = -1;
  try {
    if (text.starts_with(prefix)) value = std::stod(text.substr(prefix.size()), &used);
  } catch (const std::exception&) {
    used = 0;  // no number
  }
  if (used == 0 || prefix.size() + used != text.size() || !(value > 0) || !std::isfinite(value))
    throw Error(ErrorCode::InvalidArgument,
                "budget '" + text + "': kl=N with a number N > 0 expected, as in kl=0.0015");
  return value;
}

/// "0-3, 7": rising numbers, runs of them as ranges.
std::string ranges(const std::vector<int64_t>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t end = i + 1;
    while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1) ++end;
    text += (text.empty() ? "" : ", ") + std::to_string(numbers[i]);
    if (end - i > 1) text += "-" + std::to_string(numbers[end - 1]);
    i = end;
  }
  return text;
}

/// Linears of one kind in one form.
struct ChosenKind {
  std::vector<int64_t> layers;
  double kl = 0, kl_left = 0;
};

/// What the search did, and why: the linears that are more than one int8 plane with a scale a row.
void print_mixed(const MixedReport& mixed, double budget) {
  if (mixed.tokens == 0) return;
  std::printf("mixed: KL %.5f with every linear in one int8 plane (%lld positions), budget %.5f\n",
              mixed.kl_one_plane, static_cast<long long>(mixed.tokens), budget);
  std::map<std::pair<std::string, std::string>, ChosenKind> chosen;  // by form and kind
  for (const MixedReport::LinearChoice& linear : mixed.linears) {
    if (linear.kl_left == linear.kl) continue;
    ChosenKind& kind = chosen[{linear.form, linear.kind}];
    if (linear.layer >= 0) kind.layers.push_back(linear.layer);
    kind.kl += linear.kl;
    kind.kl_left += linear.kl_left;
  }
  for (auto& [name, kind] : chosen) {
    std::sort(kind.layers.begin(), kind.layers.end());
    std::printf("  %-10s %-9s KL alone %.6f, now %.6f%s%s\n", name.first.c_str(),
                name.second.c_str(), kind.kl, kind.kl_left, kind.layers.empty() ? "" : "; layers ",
                ranges(kind.layers).c_str());
  }
  std::printf(
      "mixed: %.2f %% of the operations in one plane; KL %.5f expected, %.5f +- %.5f "
      "measured, perplexity x%.4f\n",
      100 * mixed.one_plane_share, mixed.kl_expected, mixed.kl, mixed.kl_error,
      mixed.perplexity_ratio);
}

/// Loud, on stderr: the file is worse than it may be.
void warn(const std::string& output, const MixedReport& mixed) {
  constexpr double tolerated = 1.05;
  constexpr size_t named = 8;
  if (!(mixed.perplexity_ratio > tolerated)) return;
  std::fprintf(stderr,
               "octet: WARNING: %s: its perplexity is %.1f %% above the float model's. The linears "
               "that lose most (keep their layers in f16, or train with quantization in the "
               "loop):\n",
               output.c_str(), 100 * (mixed.perplexity_ratio - 1));
  for (size_t i = 0; i < std::min(named, mixed.linears.size()); ++i)
    std::fprintf(stderr, "  %s (%s, KL %.5f)\n", mixed.linears[i].weight.c_str(),
                 mixed.linears[i].form.c_str(), mixed.linears[i].kl_left);
}

Json mixed_json(const MixedReport& mixed) {
  Json linears = Json::array();
  for (const MixedReport::LinearChoice& linear : mixed.linears)
    linears.push_back({{"weight", linear.weight},
                       {"form", linear.form},
                       {"kl", number(linear.kl)},
                       {"kl_left", number(linear.kl_left)}});
  return {{"positions", mixed.tokens},
          {"kl_one_plane", number(mixed.kl_one_plane)},
          {"kl_expected", number(mixed.kl_expected)},
          {"kl", number(mixed.kl)},
          {"kl_standard_error", number(mixed.kl_error)},
          {"perplexity_ratio", number(mixed.perplexity_ratio)},
          {"one_plane_share", mixed.one_plane_share},
          {"linears", linears}};
}

void run(const ConvertArguments& arguments) {
  ConvertOptions options;
  options.scheme = parse_scheme(arguments.scheme);
  options.rotation = parse_rotation(arguments.rotation);
  options.mixed = arguments.mixed;
  options.budget = parse_budget(arguments.budget);
  options.threads = arguments.threads;
  options.adapters = parse_lora(arguments.lora);
  if (arguments.calibrate == "off") {
    options.calibration = Calibrate::off;
  } else if (arguments.calibrate != "builtin") {
    options.calibration = Calibrate::text;
    options.calibration_text = read_text(arguments.calibrate);
  }
  Device::parse(arguments.device);
  cancel_on_signal();
  ConvertReport report;
  {
    ProgressBar bar("converting");
    report = convert(arguments.source, arguments.output, options, bar.progress());
  }
  warn(arguments.output, report.mixed);
  if (arguments.json) {
    Json result = {{"output", arguments.output},
                   {"scheme", arguments.scheme},
                   {"calibration_tokens", report.calibration_tokens},
                   {"tensors", report.tensors},
                   {"weights", report.input_weights},
                   {"bytes", report.output_bytes},
                   {"seconds", report.seconds},
                   {"peak_rss_bytes", peak_rss_bytes()}};
    if (report.mixed.tokens > 0) result["mixed"] = mixed_json(report.mixed);
    print_json(result);
  } else {
    print_mixed(report.mixed, options.budget);
    std::printf("%s: %s, %.1f MB for %.1f M weights (%.1f %% of fp32), %.1f s\n",
                arguments.output.c_str(), arguments.scheme.c_str(),
                static_cast<double>(report.output_bytes) / 1e6,
                static_cast<double>(report.input_weights) / 1e6,
                100.0 * static_cast<double>(report.output_bytes) /
                    (4.0 * static_cast<double>(report.input_weights)),
                report.seconds);
  }
}

}  // namespace

void add_convert(CLI::App& app) {
  auto arguments = std::make_shared<ConvertArguments>();
  CLI::App* command = app.add_subcommand("convert", "quantize a checkpoint into one octet file");
  command->footer("Example: octet convert DeepSeek-R1-Distill-Qwen-1.5B/ -o r1.int8.safetensors");
  command->add_option("SRC", arguments->source, "a Hugging Face directory, .safetensors or .gguf")
      ->required();
  add_output(*command, arguments->output, "the file to write");
  command->add_option("--scheme", arguments->scheme, "w8a8, w8a8-g128, f16 or f32")
      ->capture_default_str();
  command
      ->add_option("--rotate", arguments->rotation,
                   "spread outliers over all channels: auto (scaled and rotated at every linear if "
                   "calibrated, else on for the int8 schemes), on (folded into the weights but for "
                   "down_proj; what CUDA runs) or off")
      ->capture_default_str();
  command
      ->add_option("--mixed", arguments->mixed,
                   "linears whose inputs take two int8 planes: some of "
                   "q,k,v,o,gate,up,down,head; auto: those that the budget needs; or off")
      ->capture_default_str();
  command
      ->add_option("--budget", arguments->budget,
                   "of --mixed auto: the mean KL divergence from the float model, in nats")
      ->capture_default_str();
  command
      ->add_option("--calibrate", arguments->calibrate,
                   "int8 schemes: a text file that weights are rounded for, builtin, or off")
      ->capture_default_str();
  add_lora(*command, arguments->lora);
  arguments->add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace octet::tools

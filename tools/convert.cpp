#include <octet/quant.h>

#include <cstdio>
#include <memory>

#include "common.h"

namespace octet::tools {
namespace {

struct ConvertArguments : CommonOptions {
  std::vector<std::string> lora;
  std::string source, output, scheme = "w8a8", rotation = "auto", mixed = default_mixed,
                              calibrate = "builtin";
};

void run(const ConvertArguments& arguments) {
  ConvertOptions options;
  options.scheme = parse_scheme(arguments.scheme);
  options.rotation = parse_rotation(arguments.rotation);
  options.mixed = arguments.mixed;
  options.threads = arguments.threads;
  options.adapters = parse_lora(arguments.lora);
  if (arguments.calibrate == "off") {
    options.calibration = Calibrate::off;
  } else if (arguments.calibrate != "builtin") {
    options.calibration = Calibrate::text;
    options.calibration_text = read_text(arguments.calibrate);
  }
  Device::parse(arguments.device);
  ConvertReport report;
  {
    ProgressBar bar("converting");
    report = convert(arguments.source, arguments.output, options, bar.progress());
  }
  if (arguments.json)
    print_json({{"output", arguments.output},
                {"scheme", arguments.scheme},
                {"calibration_tokens", report.calibration_tokens},
                {"tensors", report.tensors},
                {"weights", report.input_weights},
                {"bytes", report.output_bytes},
                {"seconds", report.seconds},
                {"peak_rss_bytes", peak_rss_bytes()}});
  else
    std::printf("%s: %s, %.1f MB for %.1f M weights (%.1f %% of fp32), %.1f s\n",
                arguments.output.c_str(), arguments.scheme.c_str(),
                static_cast<double>(report.output_bytes) / 1e6,
                static_cast<double>(report.input_weights) / 1e6,
                100.0 * static_cast<double>(report.output_bytes) /
                    (4.0 * static_cast<double>(report.input_weights)),
                report.seconds);
}

}  // namespace

void add_convert(CLI::App& app) {
  auto arguments = std::make_shared<ConvertArguments>();
  CLI::App* command = app.add_subcommand("convert", "quantize a checkpoint into one octet file");
  command->footer("Example: octet convert DeepSeek-R1-Distill-Qwen-1.5B/ -o r1.int8.safetensors");
  command->add_option("SRC", arguments->source, "a Hugging Face directory, .safetensors or .gguf")
      ->required();
  command->add_option("-o,--output", arguments->output, "the file to write")->required();
  command->add_option("--scheme", arguments->scheme, "w8a8, w8a8-g128, f16 or f32")
      ->capture_default_str();
  command
      ->add_option(
          "--rotate", arguments->rotation,
          "spread outliers over all channels: auto (on for the int8 schemes), on, off, or folded: "
          "without what a model needs at run time, for `octet export`")
      ->capture_default_str();
  command
      ->add_option("--mixed", arguments->mixed,
                   "linears whose inputs take two int8 planes: some of "
                   "q,k,v,o,gate,up,down,head, or off")
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

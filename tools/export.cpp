#include <octet/export_model.h>

#include <cstdio>
#include <memory>

#include "common.h"
#include "interrupt.h"

namespace octet::tools {
namespace {

struct ExportArguments : CommonOptions {
  std::string source, output, format, type = "auto";
};

void run(const ExportArguments& arguments) {
  const ExportOptions options{parse_export_format(arguments.format),
                              parse_export_type(arguments.type), arguments.threads};
  Device::parse(arguments.device);
  cancel_on_signal();
  ExportReport report;
  {
    ProgressBar bar("exporting");
    report = export_model(arguments.source, arguments.output, options, bar.progress());
  }
  for (const std::string& note : report.notes)
    std::fprintf(stderr, "octet: note: %s\n", note.c_str());
  if (arguments.json)
    print_json({{"output", arguments.output},
                {"format", arguments.format},
                {"tensors", report.tensors},
                {"int8_linears", report.int8_linears},
                {"bytes", report.output_bytes},
                {"notes", report.notes},
                {"seconds", report.seconds}});
  else
    std::printf("%s: %s, %.1f MB in %lld tensors, %.1f s\n", arguments.output.c_str(),
                arguments.format.c_str(), static_cast<double>(report.output_bytes) / 1e6,
                static_cast<long long>(report.tensors), report.seconds);
}

}  // namespace

void add_export(CLI::App& app) {
  auto arguments = std::make_shared<ExportArguments>();
  CLI::App* command = app.add_subcommand(
      "export", "write a model for other programs: transformers, vLLM, llama.cpp");
  command->footer(
      "Example: octet export r1.int8.safetensors -o r1-w8a8 --format compressed-tensors");
  command->add_option("MODEL", arguments->source, "a converted file or a checkpoint")->required();
  add_output(*command, arguments->output, "the directory to make; with gguf the file to write");
  command->add_option("--format", arguments->format, "compressed-tensors, hf or gguf")->required();
  command
      ->add_option("--type", arguments->type,
                   "of float weights: f32, f16 or bf16; with gguf q8_0 or f16")
      ->capture_default_str();
  arguments->add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace octet::tools

#include <unistd.h>

#include <iostream>
#include <memory>

#include "common.h"
#include "generate_options.h"

namespace octet::tools {
namespace {

struct RunArguments : GenerateArguments {
  std::optional<std::string> prompt, file;
  bool raw = false;

  /// -p, -f, or standard input.
  std::string text() const {
    if (!prompt) return read_text(file.value_or("-"));
    require_utf8(*prompt, "--prompt");
    return *prompt;
  }
};

void run(const RunArguments& arguments) {
  const Model model = arguments.open();
  const std::string prompt = arguments.text();
  Session session(model,
                  {.context = arguments.context, .adapters = load_lora(model, arguments.lora)});
  const GenerateOptions options = arguments.generate_options(model);
  TextStream stream =
      arguments.raw ? session.complete(prompt, options) : session.stream(prompt, options);
  std::string text;
  for (std::string_view piece : stream) {
    text += piece;
    if (!arguments.json) std::cout << piece << std::flush;
  }
  if (arguments.json) {
    Json result = {{"text", text}};
    result.update(stats_json(session));
    print_json(result);
    return;
  }
  std::cout << '\n' << std::flush;  // before the figures on stderr
  if (arguments.stats) print_stats(session);
}

}  // namespace

void add_run(CLI::App& app) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App* command = app.add_subcommand("run", "text from a prompt");
  command->footer("Example: octet run r1.int8.safetensors -p \"What is 17 * 24?\" --stats");
  CLI::Option* prompt = command->add_option("-p,--prompt", arguments->prompt, "the prompt");
  command->add_option("-f,--file", arguments->file, "read the prompt from a file; - is stdin")
      ->excludes(prompt);
  command->add_flag("--raw", arguments->raw, "continue the prompt as it is, no chat template");
  arguments->add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace octet::tools

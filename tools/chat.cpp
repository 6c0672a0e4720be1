#include <unistd.h>

#include <iostream>
#include <memory>

#include "common.h"
#include "generate_options.h"

namespace octet::tools {
namespace {

struct ChatArguments : GenerateArguments {
  std::optional<std::string> system;
};

std::vector<ChatMessage> opening(const ChatArguments& arguments) {
  if (!arguments.system) return {};
  require_utf8(*arguments.system, "--system");
  return {{"system", *arguments.system}};
}

void run(const ChatArguments& arguments) {
  const Model model = arguments.open();
  Session session(model,
                  {.context = arguments.context, .adapters = load_lora(model, arguments.lora)});
  const GenerateOptions options = arguments.generate_options(model);
  session.set_messages(opening(arguments));
  const bool terminal = isatty(STDIN_FILENO) != 0;
  if (terminal) std::cerr << "Type a message; /reset starts over, /exit or Ctrl-D ends.\n";
  for (;;) {
    if (terminal) std::cerr << "> " << std::flush;
    std::string line;
    if (!std::getline(std::cin, line) || line == "/exit") return;
    if (line.empty()) continue;
    if (line == "/reset") {
      session.set_messages(opening(arguments));
      continue;
    }
    require_utf8(line, "standard input");
    std::string text;
    TextStream stream = session.stream(line, options);
    for (std::string_view piece : stream) {
      text += piece;
      if (!arguments.json) std::cout << piece << std::flush;
    }
    if (arguments.json) {
      Json result = {{"text", text}};
      result.update(stats_json(session));
      print_json(result);
      std::cout.flush();
      continue;
    }
    std::cout << '\n';
    if (arguments.stats) print_stats(session);
  }
}

}  // namespace

void add_chat(CLI::App& app) {
  auto arguments = std::make_shared<ChatArguments>();
  CLI::App* command = app.add_subcommand("chat", "a conversation, a line a message");
  command->footer("Example: octet chat r1.int8.safetensors --system \"Answer in one sentence.\"");
  command->add_option("--system", arguments->system, "a system message to begin with");
  arguments->add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace octet::tools

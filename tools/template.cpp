#include <memory>

#include "json_lines.h"

namespace octet::tools {
namespace {

struct TemplateArguments : CommonOptions {
  std::string path;
};

void run(const TemplateArguments& arguments) {
  const ChatFormat format = ChatFormat::open(arguments.path);
  each_json_line([&](const Json& line) -> Json {
    std::vector<ChatMessage> messages;
    for (const Json& message : line.at("messages"))
      messages.push_back(
          {message.at("role").get<std::string>(), message.at("content").get<std::string>()});
    return {{"text", format.render(messages, line.value("add_generation_prompt", false))}};
  });
}

}  // namespace

void add_template(CLI::App& app) {
  auto arguments = std::make_shared<TemplateArguments>();
  CLI::App* command = app.add_subcommand(
      "template",
      "JSON lines on stdin, {\"messages\": [...]} to {\"text\": ...}: the chat template");
  command->footer(
      "Example: echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], "
      "\"add_generation_prompt\": true}' | octet template r1.int8.safetensors");
  command->add_option("MODEL", arguments->path, "a converted file, a checkpoint, or its directory")
      ->required();
  arguments->add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace octet::tools

#include <memory>

#include "json_lines.h"

namespace octet::tools {
namespace {

struct TokenizeArguments : CommonOptions {
  std::string path;
  bool decode = false, add_bos = false, no_special = false;
};

void run(const TokenizeArguments& arguments) {
  const Tokenizer tokenizer = Tokenizer::open(arguments.path);
  if (arguments.decode)
    each_json_line([&](const Json& line) -> Json {
      const auto ids = line.at("ids").get<std::vector<int32_t>>();
      return {{"text", tokenizer.decode(ids, {.keep_special = !arguments.no_special})}};
    });
  else
    each_json_line([&](const Json& line) -> Json {
      const auto text = line.at("text").get<std::string>();
      return {{"ids", tokenizer.encode(text, {.add_bos = arguments.add_bos})}};
    });
}

}  // namespace

void add_tokenize(CLI::App& app) {
  auto arguments = std::make_shared<TokenizeArguments>();
  CLI::App* command = app.add_subcommand(
      "tokenize", "JSON lines on stdin, {\"text\": ...} to {\"ids\": [...]}, or back");
  command->footer("Example: echo '{\"text\": \"Hello world\"}' | octet tokenize tokenizer.json");
  command
      ->add_option("MODEL", arguments->path,
                   "a model, tokenizer.json, a directory that holds one, a GGUF file or a "
                   "sentencepiece .model")
      ->required();
  command->add_flag("--decode", arguments->decode, "{\"ids\": [...]} to {\"text\": ...}");
  command->add_flag("--add-bos", arguments->add_bos, "begin with the model's BOS token");
  command->add_flag("--no-special", arguments->no_special, "leave special tokens out of the text");
  arguments->add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace octet::tools

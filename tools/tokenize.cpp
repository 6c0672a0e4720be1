#include <memory>

#include "json_lines.h"

namespace octet::tools {
namespace {

struct TokenizeArguments : CommonOptions {
  std::string path;
  bool decode = false, add_bos = false, no_special = false;
};

/// Errors: InvalidArgument for what is no list of ids of the vocabulary.
std::vector<int32_t> ids_of(const Json& list, const Tokenizer& tokenizer) {
  const auto expected = [&](const Json& found) {
    return Error(ErrorCode::InvalidArgument, "ids: " + found.dump() + ", a list of ids from 0 to " +
                                                 std::to_string(tokenizer.size() - 1) +
                                                 " expected");
  };
  if (!list.is_array()) throw expected(list);
  std::vector<int32_t> ids;
  for (const Json& id : list) {
    if (!id.is_number_integer() || id < 0 || id >= tokenizer.size()) throw expected(id);
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

void run(const TokenizeArguments& arguments) {
  const Tokenizer tokenizer = Tokenizer::open(arguments.path);
  if (arguments.decode)
    each_json_line([&](const Json& line) -> Json {
      const std::vector<int32_t> ids = ids_of(line.at("ids"), tokenizer);
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

#include <algorithm>
#include <charconv>
#include <memory>

#include "common.h"
#include "interrupt.h"
#include "tensor_file.h"

namespace octet::tools {
namespace {

using Ids = std::vector<int32_t>;

struct LogitsArguments : ModelArguments {
  std::string ids, ids_file, output;
  std::vector<std::string> lora;
  bool last = false;
  int64_t greedy = 0;
};

[[noreturn]] void bad_ids(const std::string& what) {
  throw Error(ErrorCode::InvalidArgument, what);
}

/// "1,2,3"
Ids parse_ids(const std::string& text) {
  Ids ids;
  for (const char *at = text.data(), *end = at + text.size(); at != end;) {
    int32_t id = 0;
    const auto [stop, error] = std::from_chars(at, end, id);
    if (error != std::errc() || (stop != end && (*stop != ',' || stop + 1 == end)))
      bad_ids("--ids '" + text + "': token ids separated by commas expected");
    ids.push_back(id);
    at = stop == end ? end : stop + 1;
  }
  return ids;
}

/// A JSON list of lists of ids.
std::vector<Ids> read_ids(const std::string& path) {
  const Json json = Json::parse(read_text(path), nullptr, false);
  const auto bad = [&] { bad_ids(path + ": a JSON list of lists of token ids expected"); };
  if (!json.is_array()) bad();
  std::vector<Ids> lists;
  for (const Json& list : json) {
    if (!list.is_array()) bad();
    Ids& ids = lists.emplace_back();
    for (const Json& id : list) {
      if (!id.is_number_integer() || id < INT32_MIN || id > INT32_MAX) bad();
      ids.push_back(id.get<int32_t>());
    }
  }
  return lists;
}

/// The continuation by always taking the highest logit (the lowest id of equals).
Ids continue_greedily(Session& session, int32_t next, int64_t count, const CancelToken& cancel) {
  Ids ids;
  while (static_cast<int64_t>(ids.size()) < count) {
    ids.push_back(next);
    if (static_cast<int64_t>(ids.size()) == count) break;
    session.evaluate(
        std::span(&ids.back(), 1), Session::Rows::last,
        [&](int64_t, std::span<const float> logits) {
          next =
              static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
        },
        cancel);
  }
  return ids;
}

/// "logits" for one list, "logits.0", "logits.1", ... for several.
std::string name_of(const std::string& name, size_t list, size_t lists) {
  return lists == 1 ? name : name + "." + std::to_string(list);
}

std::vector<TensorFile::Plan> plan(const LogitsArguments& arguments, const std::vector<Ids>& lists,
                                   int64_t vocab) {
  std::vector<TensorFile::Plan> tensors;
  for (size_t i = 0; i < lists.size(); ++i) {
    const int64_t rows = arguments.last ? 1 : static_cast<int64_t>(lists[i].size());
    tensors.push_back({name_of("logits", i, lists.size()), "F32", {rows, vocab}});
    if (arguments.greedy > 0)
      tensors.push_back({name_of("greedy", i, lists.size()), "I32", {arguments.greedy}});
  }
  return tensors;
}

void write_list(const LogitsArguments& arguments, const Model& model,
                const std::vector<Adapter>& adapters, const Ids& ids, const CancelToken& cancel,
                TensorFile& file) {
  Session session(model, {.context = static_cast<int64_t>(ids.size()) + arguments.greedy,
                          .adapters = adapters});
  int32_t next = 0;
  const auto last_row = static_cast<int64_t>(ids.size()) - 1;
  session.evaluate(
      ids, arguments.last ? Session::Rows::last : Session::Rows::all,
      [&](int64_t row, std::span<const float> logits) {
        file.append(logits);
        if (row == last_row)
          next =
              static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
      },
      cancel);
  if (arguments.greedy > 0)
    file.append(
        std::span<const int32_t>(continue_greedily(session, next, arguments.greedy, cancel)));
}

void run(const LogitsArguments& arguments) {
  const std::vector<Ids> lists = arguments.ids_file.empty()
                                     ? std::vector<Ids>{parse_ids(arguments.ids)}
                                     : read_ids(arguments.ids_file);
  if (lists.empty()) bad_ids(arguments.ids_file + ": no list of token ids in it");
  for (const Ids& ids : lists)
    if (ids.empty()) bad_ids("a list of token ids is empty, at least one id expected");
  const Model model = arguments.open();
  const std::vector<Adapter> adapters = load_lora(model, arguments.lora);
  const int64_t vocab = model.config().vocab_size;
  const CancelToken& cancel = cancel_on_signal();
  TensorFile file(arguments.output, plan(arguments, lists, vocab));
  for (const Ids& ids : lists) write_list(arguments, model, adapters, ids, cancel, file);
  file.finish();
  if (arguments.json)
    print_json({{"output", arguments.output}, {"lists", lists.size()}, {"vocab", vocab}});
}

}  // namespace

void add_logits(CLI::App& app) {
  auto arguments = std::make_shared<LogitsArguments>();
  CLI::App* command =
      app.add_subcommand("logits", "logits of token ids, as a safetensors file with `logits`");
  command->footer(
      "Example: octet logits r1.int8.safetensors --ids 9707,1879 -o logits.safetensors");
  arguments->add_to(*command);
  add_lora(*command, arguments->lora);
  CLI::Option_group* ids = command->add_option_group("ids");
  ids->add_option("--ids", arguments->ids, "token ids separated by commas");
  ids->add_option("--ids-file", arguments->ids_file, "a JSON file: a list of lists of ids");
  ids->require_option(1);
  add_output(*command, arguments->output, "the file to write");
  command->add_flag("--last", arguments->last, "the last position only");
  command
      ->add_option("--greedy", arguments->greedy,
                   "also continue by N tokens, not stopped at end tokens: `greedy` i32 [N]")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24));
  command->callback([arguments] { run(*arguments); });
}

}  // namespace octet::tools

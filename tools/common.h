#pragma once
// What the subcommands share: options, progress bar, output.
#include <octet/octet.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace octet::tools {

using Json = nlohmann::ordered_json;

/// --device, --threads, --json: every subcommand has them.
struct CommonOptions {
  std::string device = "auto";
  int threads = 0;
  bool json = false;

  void add_to(CLI::App& command);
};

/// MODEL and how to load it.
struct ModelArguments : CommonOptions {
  std::string path;
  std::string scheme = "w8a8", rotation = "auto", mixed = default_mixed, kv_cache = "f16";
  bool exact = false;

  void add_to(CLI::App& command);
  ModelOptions options() const;
  /// Shows a progress bar where the weights are quantized while they load.
  Model open() const;
};

/// --lora DIR[=SCALE], any number of times.
void add_lora(CLI::App& command, std::vector<std::string>& lora);
/// Errors: InvalidArgument for a scale that is no number.
std::vector<AdapterSource> parse_lora(const std::vector<std::string>& lora);
std::vector<Adapter> load_lora(const Model& model, const std::vector<std::string>& lora);

/// -o, --output, which has to be there, and not empty.
void add_output(CLI::App& command, std::string& output, const std::string& help);

/// --kv-cache, --exact: how a model computes.
void add_arithmetic(CLI::App& command, std::string& kv_cache, bool& exact);

/// A line on stderr that is drawn over and over; silent unless stderr is a terminal.
class ProgressBar {
 public:
  explicit ProgressBar(std::string title);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(int64_t done, int64_t total);
  /// For the library's long calls; cancels them where a signal is to (interrupt.h).
  Progress progress();

 private:
  std::string title_;
  bool terminal_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_{};
};

/// One JSON object on stdout.
void print_json(const Json& object);

/// The largest resident set of this process so far.
uint64_t peak_rss_bytes();

/// Errors: InvalidArgument, naming `origin`, if the text is not UTF-8.
void require_utf8(const std::string& text, const std::string& origin);

/// The content of a text file, or of stdin for "-". Errors: Io; InvalidArgument if it is not UTF-8.
std::string read_text(const std::string& path);

/// A quiet NaN or infinity has no JSON form: null.
Json number(double value);

/// Adds one subcommand each.
void add_convert(CLI::App& app);
void add_export(CLI::App& app);
void add_run(CLI::App& app);
void add_chat(CLI::App& app);
void add_logits(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_template(CLI::App& app);
void add_eval(CLI::App& app);
void add_bench(CLI::App& app);
void add_inspect(CLI::App& app);
void add_devices(CLI::App& app);
void add_serve(CLI::App& app);

}  // namespace octet::tools

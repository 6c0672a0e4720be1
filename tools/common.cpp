#include "common.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>

#include "interrupt.h"

namespace octet::tools {

void CommonOptions::add_to(CLI::App& command) {
  command.add_option("--device", device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  command.add_option("--threads", threads, "0: one for each core")->capture_default_str();
  command.add_flag("--json", json, "print one JSON object on stdout");
}

void ModelArguments::add_to(CLI::App& command) {
  command
      .add_option("MODEL", path,
                  "a converted file, or a Hugging Face directory, .safetensors or .gguf, which is "
                  "quantized while it loads")
      ->required();
  command
      .add_option("--scheme", scheme,
                  "for a source that is not converted: w8a8, w8a8-g128, "
                  "f16 or f32")
      ->capture_default_str();
  command
      .add_option("--rotate", rotation,
                  "for the same: auto (on for the int8 schemes), on, off or folded")
      ->capture_default_str();
  command
      .add_option("--mixed", mixed,
                  "for the same: linears whose inputs take two int8 planes, some of "
                  "q,k,v,o,gate,up,down,head, or off")
      ->capture_default_str();
  add_arithmetic(command, kv_cache, exact);
  CommonOptions::add_to(command);
}

void add_lora(CLI::App& command, std::vector<std::string>& lora) {
  command
      .add_option("--lora", lora,
                  "a LoRA adapter's directory as PEFT saves it, DIR or DIR=SCALE; may be given "
                  "several times")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

std::vector<AdapterSource> parse_lora(const std::vector<std::string>& lora) {
  std::vector<AdapterSource> adapters;
  for (const std::string& text : lora) {
    AdapterSource& adapter = adapters.emplace_back();
    const size_t equals = text.rfind('=');
    adapter.directory = text.substr(0, equals);
    if (equals == std::string::npos) continue;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + equals + 1, end, adapter.scale);
    if (error != std::errc() || stop != end)
      throw Error(ErrorCode::InvalidArgument,
                  "--lora '" + text + "': DIR or DIR=SCALE with a number expected");
  }
  return adapters;
}

std::vector<Adapter> load_lora(const Model& model, const std::vector<std::string>& lora) {
  std::vector<Adapter> adapters;
  for (const AdapterSource& adapter : parse_lora(lora))
    adapters.push_back(Adapter::load(model, adapter.directory, adapter.scale));
  return adapters;
}

void add_arithmetic(CLI::App& command, std::string& kv_cache, bool& exact) {
  command.add_option("--kv-cache", kv_cache, "keys and values as f16, int16, int8 or f32")
      ->capture_default_str();
  command.add_flag("--exact", exact, "on CUDA, an int8 model gives the CPU's bits, and is slower");
}

void add_output(CLI::App& command, std::string& output, const std::string& help) {
  command.add_option("-o,--output", output, help)->required()->check([](const std::string& name) {
    return name.empty() ? "the name is empty" : "";
  });
}

ModelOptions ModelArguments::options() const {
  ModelOptions options;
  options.device = Device::parse(device);
  options.threads = threads;
  options.scheme = parse_scheme(scheme);
  options.kv_cache = parse_kv_cache(kv_cache);
  options.exact = exact;
  options.rotation = parse_rotation(rotation);
  options.mixed = mixed;
  return options;
}

Model ModelArguments::open() const {
  ProgressBar bar("loading");
  return Model::open(path, options(), bar.progress());
}

ProgressBar::ProgressBar(std::string title)
    : title_(std::move(title)), terminal_(isatty(STDERR_FILENO) != 0) {}

ProgressBar::~ProgressBar() {
  if (drawn_) std::fputs("\r\033[K", stderr);
}

void ProgressBar::update(int64_t done, int64_t total) {
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || (now - last_ < std::chrono::milliseconds(100) && done < total)) return;
  last_ = now;
  drawn_ = true;
  constexpr int width = 30;
  const double share = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 0;
  const int filled = static_cast<int>(share * width);
  std::fprintf(stderr, "\r%s [%.*s%*s] %3.0f %%", title_.c_str(), filled,
               "##############################", width - filled, "", share * 100);
  std::fflush(stderr);
}

Progress ProgressBar::progress() {
  return {[](void* bar, int64_t done, int64_t total) {
            static_cast<ProgressBar*>(bar)->update(done, total);
            return !interrupted();
          },
          this};
}

void print_json(const Json& object) {
  std::cout << object.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
}

uint64_t peak_rss_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    uint64_t kilobytes = 0;
    if (word == "VmHWM:" && status >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

void require_utf8(const std::string& text, const std::string& origin) {
  try {
    (void)Json(text).dump();
  } catch (const Json::exception&) {
    throw Error(ErrorCode::InvalidArgument, origin + ": the text is not UTF-8");
  }
}

std::string read_text(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) throw Error(ErrorCode::Io, path + ": cannot open: " + std::strerror(errno));
  }
  std::istream& in = path == "-" ? std::cin : file;
  std::string text;
  char part[65536];
  while (in.read(part, sizeof part), in.gcount() > 0)
    text.append(part, static_cast<size_t>(in.gcount()));
  if (in.bad()) throw Error(ErrorCode::Io, path + ": cannot read");
  require_utf8(text, path == "-" ? "standard input" : path);
  return text;
}

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json();
}

}  // namespace octet::tools

#include <algorithm>
#include <cstdio>
#include <memory>

#include "bench_serve.h"
#include "common.h"

namespace octet::tools {
namespace {

using Clock = std::chrono::steady_clock;

struct BenchArguments : CommonOptions {
  std::string path, shape, scheme = "w8a8", rotation = "auto", mixed = default_mixed;
  std::string kv_cache = "f16";
  std::vector<std::string> lora;
  int64_t prompt = 512, generate = 64, depth = 0, batch = 1;
  int repetitions = 3;
  ServeArguments serve;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Operations of the decoder's linears for one token: a multiplication and an addition a weight.
double linear_operations(const ModelConfig& c) {
  const int64_t attention = c.hidden_size * c.head_dim * (2 * c.num_heads + 2 * c.num_kv_heads);
  const int64_t mlp = 3 * c.hidden_size * c.intermediate_size;
  return 2.0 * static_cast<double>(c.num_layers * (attention + mlp));
}

/// Token ids that spread over the vocabulary; which ones does not matter for speed.
std::vector<int32_t> some_ids(int64_t count, int64_t vocab) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(i * 7919 % vocab));
  return ids;
}

class Benchmark {
 public:
  Benchmark(const BenchArguments& arguments, const Model& model)
      : arguments_(arguments), vocab_(model.config().vocab_size) {
    const int64_t context = arguments.depth + std::max(arguments.prompt, arguments.generate) + 1;
    const std::vector<Adapter> adapters = load_lora(model, arguments.lora);
    for (int64_t i = 0; i < arguments.batch; ++i)
      sessions_.emplace_back(model, SessionOptions{.context = context, .adapters = adapters});
  }

  /// Tokens per second of a prompt behind `depth` cached tokens.
  double prefill() {
    Session& session = sessions_[0];
    fill(session);
    const std::vector<int32_t> ids = some_ids(arguments_.prompt, vocab_);
    const Clock::time_point start = Clock::now();
    session.evaluate(ids, Session::Rows::last, [](int64_t, std::span<const float>) {});
    return static_cast<double>(arguments_.prompt) / seconds_since(start);
  }

  /// Tokens per second of all sequences together.
  double decode() {
    std::vector<StepInput> inputs;
    std::vector<int32_t> next(sessions_.size(), 1);
    for (size_t i = 0; i < sessions_.size(); ++i) {
      fill(sessions_[i]);
      inputs.push_back({&sessions_[i], std::span(&next[i], 1)});
    }
    const Clock::time_point start = Clock::now();
    for (int64_t token = 0; token < arguments_.generate; ++token)
      step_top(inputs, 1, [&](size_t input, int64_t, std::span<const TopLogit> best) {
        next[input] = best[0].id;
      });
    return static_cast<double>(arguments_.generate * arguments_.batch) / seconds_since(start);
  }

 private:
  /// Brings a session to `depth` cached tokens.
  void fill(Session& session) {
    session.truncate(std::min(session.size(), arguments_.depth));
    const std::vector<int32_t> ids = some_ids(arguments_.depth - session.size(), vocab_);
    if (!ids.empty())
      session.evaluate(ids, Session::Rows::none, [](int64_t, std::span<const float>) {});
  }

  const BenchArguments& arguments_;
  int64_t vocab_;
  std::vector<Session> sessions_;
};

struct Spread {
  double min, median, max;

  explicit Spread(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    min = values.front();
    max = values.back();
    const size_t half = values.size() / 2;
    median = values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
  }
  Json json() const { return {{"min", min}, {"median", median}, {"max", max}}; }
};

/// The better of two measurements: the machine's state may change in between.
Peaks better(const Peaks& a, const Peaks& b) {
  return {std::max(a.int8_ops_per_second, b.int8_ops_per_second),
          std::max(a.fp32_ops_per_second, b.fp32_ops_per_second),
          std::max(a.read_bytes_per_second, b.read_bytes_per_second)};
}

Json peaks_json(const Peaks& peaks) {
  return {{"int8_ops_per_second", peaks.int8_ops_per_second},
          {"fp32_ops_per_second", peaks.fp32_ops_per_second},
          {"read_bytes_per_second", peaks.read_bytes_per_second}};
}

Model load(const BenchArguments& arguments, double& seconds) {
  ModelOptions options;
  options.device = Device::parse(arguments.device);
  options.threads = arguments.threads;
  options.scheme = parse_scheme(arguments.scheme);
  options.kv_cache = parse_kv_cache(arguments.kv_cache);
  options.rotation = parse_rotation(arguments.rotation);
  options.mixed = arguments.mixed;
  ProgressBar bar("loading");
  const Clock::time_point start = Clock::now();
  Model model = arguments.shape.empty() ? Model::open(arguments.path, options, bar.progress())
                                        : Model::random(arguments.shape, options, bar.progress());
  seconds = seconds_since(start);
  return model;
}

/// The mean depth that a decode run sees, in bytes of keys and values.
double decode_bytes(const BenchArguments& arguments, const Model& model) {
  const double depth =
      static_cast<double>(arguments.depth) + static_cast<double>(arguments.generate + 1) / 2;
  return static_cast<double>(model.decode_weight_bytes()) / static_cast<double>(arguments.batch) +
         depth * static_cast<double>(model.kv_bytes_per_token());
}

void print(const Json& result) {
  const auto text = [](const Json& rate) {
    char line[96];
    std::snprintf(line, sizeof line, "%9.1f tokens/s (%.1f to %.1f)", rate["median"].get<double>(),
                  rate["min"].get<double>(), rate["max"].get<double>());
    return std::string(line);
  };
  const Json &prefill = result["prefill"], &decode = result["decode"], &peaks = result["peaks"];
  const auto giga = [&](const char* key) { return peaks[key].get<double>() / 1e9; };
  std::printf("%s, %s, KV cache %s, %s, %d threads\n", result["shape"].get<std::string>().c_str(),
              result["scheme"].get<std::string>().c_str(),
              result["kv_cache"].get<std::string>().c_str(),
              result["isa"].get<std::string>().c_str(), result["threads"].get<int>());
  std::printf("prefill %5lld     %s  %.1f %% of the peak\n", prefill["tokens"].get<long long>(),
              text(prefill["tokens_per_second"]).c_str(),
              100 * prefill["share_of_peak"].get<double>());
  std::printf("decode  %5lld x%-3lld%s  %.1f %% of the bandwidth\n",
              decode["tokens"].get<long long>(), decode["batch"].get<long long>(),
              text(decode["tokens_per_second"]).c_str(),
              100 * decode["share_of_bandwidth"].get<double>());
  std::printf("peaks: int8 %.1f GOP/s, fp32 %.1f GFLOP/s, read %.1f GB/s\n",
              giga("int8_ops_per_second"), giga("fp32_ops_per_second"),
              giga("read_bytes_per_second"));
  std::printf("load %.2f s, peak memory %.0f MB\n", result["load_seconds"].get<double>(),
              result["peak_rss_bytes"].get<double>() / 1e6);
}

void run(const BenchArguments& arguments) {
  if (arguments.serve.on) {
    double load_seconds = 0;
    return bench_serve(load(arguments, load_seconds), arguments.serve, arguments.json);
  }
  const Peaks before = measure_peaks(arguments.threads);
  reset_peak_rss();  // the probe's buffer is not the model's
  double load_seconds = 0;
  const Model model = load(arguments, load_seconds);
  Benchmark benchmark(arguments, model);
  benchmark.decode();  // warm-up: brings weights and caches into memory
  std::vector<double> prefill, decode;
  for (int i = 0; i < arguments.repetitions; ++i) {
    prefill.push_back(benchmark.prefill());
    decode.push_back(benchmark.decode());
  }
  const uint64_t rss = peak_rss_bytes();
  const Peaks after = measure_peaks(arguments.threads);
  const Peaks peaks = better(before, after);
  const Spread prefill_rate(prefill), decode_rate(decode);
  // The float schemes multiply in fp32.
  const double operations =
      is_int8(model.scheme()) ? peaks.int8_ops_per_second : peaks.fp32_ops_per_second;
  const Json result = {
      {"shape", arguments.shape.empty() ? arguments.path : arguments.shape},
      {"scheme", to_string(model.scheme())},
      {"kv_cache", to_string(model.kv_cache())},
      {"isa", model.instruction_set()},
      {"device", model.device()},
      {"threads", model.threads()},
      {"prefill",
       {{"tokens", arguments.prompt},
        {"depth", arguments.depth},
        {"tokens_per_second", prefill_rate.json()},
        {"share_of_peak", prefill_rate.median * linear_operations(model.config()) / operations}}},
      {"decode",
       {{"tokens", arguments.generate},
        {"depth", arguments.depth},
        {"batch", arguments.batch},
        {"tokens_per_second", decode_rate.json()},
        {"share_of_bandwidth",
         decode_rate.median * decode_bytes(arguments, model) / peaks.read_bytes_per_second}}},
      {"peaks", peaks_json(peaks)},
      {"peaks_before", peaks_json(before)},
      {"peaks_after", peaks_json(after)},
      {"load_seconds", load_seconds},
      {"weight_bytes", model.weight_bytes()},
      {"peak_rss_bytes", rss}};
  arguments.json ? print_json(result) : print(result);
}

void add_serve(CLI::App& command, ServeArguments& serve) {
  CLI::Option* on = command.add_flag(
      "--serve", serve.on, "instead: the time between tokens of streams that an engine serves");
  const auto add = [&](const char* name, auto& value, const char* help) {
    command.add_option(name, value, help)->capture_default_str()->needs(on);
  };
  add("--streams", serve.streams, "streams that go on all the time");
  add("--seconds", serve.seconds, "how long to measure");
  add("--long-prompt", serve.long_prompt, "tokens of the prompts that come in between");
  add("--long-every", serve.long_every, "seconds from one of them to the next; 0: none");
  add("--prompt-seconds", serve.prompt_seconds, "time that a prompt is spread over");
  command.add_flag("--steady", serve.steady, "even times between an answer's tokens before speed")
      ->needs(on);
  add("--plot", serve.plot, "an SVG file for the distribution");
}

}  // namespace

void add_bench(CLI::App& app) {
  auto arguments = std::make_shared<BenchArguments>();
  CLI::App* command =
      app.add_subcommand("bench", "prefill and decode speed, as a share of this machine's limits");
  command->footer("Example: octet bench --shape r1-distill-qwen-1.5b --threads 2");
  CLI::Option_group* model = command->add_option_group("model");
  model->add_option("MODEL", arguments->path, "a converted file or a checkpoint");
  model->add_option("--shape", arguments->shape, "random weights of a known shape")
      ->check(CLI::IsMember(shape_names()));
  model->require_option(1);
  command->add_option("--scheme", arguments->scheme, "w8a8, w8a8-g128, f16 or f32")
      ->capture_default_str();
  add_kv_cache(*command, arguments->kv_cache);
  command->add_option("--rotate", arguments->rotation, "auto (on for the int8 schemes), on or off")
      ->capture_default_str();
  command
      ->add_option("--mixed", arguments->mixed,
                   "linears whose inputs take two int8 planes, some of q,k,v,o,gate,up,down,head, "
                   "or off")
      ->capture_default_str();
  add_lora(*command, arguments->lora);
  const CLI::Range count(int64_t{1}, int64_t{1} << 24);
  command->add_option("--prompt", arguments->prompt, "tokens of the prompt")
      ->capture_default_str()
      ->check(count);
  command->add_option("--gen", arguments->generate, "tokens to generate")
      ->capture_default_str()
      ->check(count);
  command->add_option("--depth", arguments->depth, "tokens in the KV cache before")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--batch", arguments->batch, "sequences decoded together")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1024}));
  command->add_option("--reps", arguments->repetitions, "repetitions of each measurement")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  add_serve(*command, arguments->serve);
  arguments->add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace octet::tools

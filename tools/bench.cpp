#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string_view>

#include "bench_serve.h"
#include "common.h"

namespace octet::tools {
namespace {

using Clock = std::chrono::steady_clock;

struct BenchArguments : CommonOptions {
  std::string path, shape, scheme = "w8a8", rotation = "auto", mixed = default_mixed;
  std::string kv_cache = "f16";
  bool exact = false;
  std::vector<std::string> lora;
  std::vector<int64_t> depths = {0};
  int64_t prompt = 512, generate = 64, batch = 1;
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

/// The sequences of one depth: prefill and decode speed behind so many cached tokens.
class Benchmark {
 public:
  /// shallower: the one before, whose cached tokens these sequences share, or null.
  Benchmark(const BenchArguments& arguments, const Model& model, int64_t depth,
            const Benchmark* shallower)
      : arguments_(arguments), depth_(depth), vocab_(model.config().vocab_size) {
    const int64_t context =
        arguments.depths.back() + std::max(arguments.prompt, arguments.generate) + 1;
    const std::vector<Adapter> adapters = load_lora(model, arguments.lora);
    for (size_t i = 0; i < static_cast<size_t>(arguments.batch); ++i) {
      sessions_.push_back(shallower ? shallower->sessions_[i].fork()
                                    : Session(model, {.context = context, .adapters = adapters}));
      evaluate(sessions_[i], depth_ - sessions_[i].size());
    }
  }

  /// Brings weights, caches and scratch memory into being.
  void warm_up() {
    prefill();
    decode();
  }

  /// Tokens per second of a prompt.
  double prefill() {
    Session& session = sessions_[0];
    session.truncate(depth_);
    const Clock::time_point start = Clock::now();
    evaluate(session, arguments_.prompt);
    return static_cast<double>(arguments_.prompt) / seconds_since(start);
  }

  /// Tokens per second of all sequences together.
  double decode() {
    std::vector<StepInput> inputs;
    std::vector<int32_t> next(sessions_.size(), 1);
    for (size_t i = 0; i < sessions_.size(); ++i) {
      sessions_[i].truncate(depth_);
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
  void evaluate(Session& session, int64_t tokens) const {
    if (tokens > 0)
      session.evaluate(some_ids(tokens, vocab_), Session::Rows::last,
                       [](int64_t, std::span<const float>) {});
  }

  const BenchArguments& arguments_;
  int64_t depth_, vocab_;
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

Peaks best(const std::vector<Peaks>& measured) {
  Peaks best;
  for (const Peaks& peaks : measured)
    for (const auto peak :
         {&Peaks::int8_ops_per_second, &Peaks::fp32_ops_per_second, &Peaks::read_bytes_per_second})
      best.*peak = std::max(best.*peak, peaks.*peak);
  return best;
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
  options.exact = arguments.exact;
  options.rotation = parse_rotation(arguments.rotation);
  options.mixed = arguments.mixed;
  ProgressBar bar("loading");
  const Clock::time_point start = Clock::now();
  Model model = arguments.shape.empty() ? Model::open(arguments.path, options, bar.progress())
                                        : Model::random(arguments.shape, options, bar.progress());
  seconds = seconds_since(start);
  return model;
}

/// What each repetition of a speed gave, with the peaks measured before and after it: a shared
/// machine changes within seconds.
class Speed {
 public:
  /// peak: what bounds the speed; null if it was not measured. needs: of that, a token.
  Speed(double Peaks::*peak, double needs) : peak_(peak), needs_(needs) {}

  void add(double tokens_per_second, const Peaks& before, const Peaks& after) {
    rates_.push_back(tokens_per_second);
    if (!peak_) return;
    // The better of both: the share is rather too low.
    const double peak = std::max(before.*peak_, after.*peak_);
    shares_.push_back(tokens_per_second * needs_ / peak);
    repetitions_.push_back({{"tokens_per_second", tokens_per_second},
                            {"share", shares_.back()},
                            {"peak_before", before.*peak_},
                            {"peak_after", after.*peak_}});
  }
  Spread rate() const { return Spread(rates_); }
  /// With `share` for the key of the median of the repetitions' shares of the peak.
  Json json(const char* share) const {
    Json json = {{"tokens_per_second", rate().json()}, {share, nullptr}};
    if (!peak_) return json;
    json[share] = Spread(shares_).median;
    json["repetitions"] = repetitions_;
    return json;
  }

 private:
  double Peaks::*peak_;
  double needs_;
  std::vector<double> rates_, shares_;
  Json repetitions_ = Json::array();
};

/// Bytes of weights, keys and values that a token needs, at the mean depth that a run sees.
double decode_bytes(const BenchArguments& arguments, const Model& model, int64_t depth) {
  const double mean = static_cast<double>(depth) + static_cast<double>(arguments.generate + 1) / 2;
  return static_cast<double>(model.decode_weight_bytes()) / static_cast<double>(arguments.batch) +
         mean * static_cast<double>(model.kv_bytes_per_token());
}

/// One depth's sequences and speeds.
struct Depth {
  Benchmark sequences;
  Speed prefill, decode;

  Depth(const BenchArguments& arguments, const Model& model, int64_t depth, const Depth* shallower,
        bool has_peaks)
      : sequences(arguments, model, depth, shallower ? &shallower->sequences : nullptr),
        // The float schemes multiply in fp32.
        prefill(!has_peaks                ? nullptr
                : is_int8(model.scheme()) ? &Peaks::int8_ops_per_second
                                          : &Peaks::fp32_ops_per_second,
                linear_operations(model.config())),
        decode(has_peaks ? &Peaks::read_bytes_per_second : nullptr,
               decode_bytes(arguments, model, depth)) {}

  /// {"prefill": {...}, "decode": {...}}
  Json json(const BenchArguments& arguments, int64_t depth) const {
    Json of_prefill = prefill.json("share_of_peak"), of_decode = decode.json("share_of_bandwidth");
    of_prefill.update({{"tokens", arguments.prompt}, {"depth", depth}});
    of_decode.update(
        {{"tokens", arguments.generate}, {"depth", depth}, {"batch", arguments.batch}});
    return {{"prefill", of_prefill}, {"decode", of_decode}};
  }
};

/// The line of least squares through the time of a step by depth.
Json step_line(const std::vector<std::pair<int64_t, double>>& seconds_at) {
  const auto n = static_cast<double>(seconds_at.size());
  double x = 0, y = 0, xx = 0, xy = 0, yy = 0;
  for (const auto& [depth, seconds] : seconds_at) {
    const auto d = static_cast<double>(depth);
    x += d / n;
    y += seconds / n;
    xx += d * d / n;
    xy += d * seconds / n;
    yy += seconds * seconds / n;
  }
  const double slope = (xy - x * y) / (xx - x * x);
  return {{"seconds", y - slope * x},
          {"seconds_per_cached_token", slope},
          {"r2", (xy - x * y) * (xy - x * y) / ((xx - x * x) * (yy - y * y))}};
}

void print(const Json& result) {
  const auto text = [](const Json& rate) {
    char line[96];
    std::snprintf(line, sizeof line, "%9.1f tokens/s (%.1f to %.1f)", rate["median"].get<double>(),
                  rate["min"].get<double>(), rate["max"].get<double>());
    return std::string(line);
  };
  const auto share = [](const Json& value, const char* of) {
    char words[64] = "";
    if (!value.is_null())
      std::snprintf(words, sizeof words, "  %.1f %% of the %s", 100 * value.get<double>(), of);
    return std::string(words);
  };
  std::printf("%s, %s%s, KV cache %s, %s, %d threads\n", result["shape"].get<std::string>().c_str(),
              result["scheme"].get<std::string>().c_str(),
              result["exact"].get<bool>() ? ", exact" : "",
              result["kv_cache"].get<std::string>().c_str(),
              result["isa"].get<std::string>().c_str(), result["threads"].get<int>());
  const bool many = result.contains("depths");
  for (const Json& at : many ? result["depths"] : Json::array({result})) {
    const Json &prefill = at["prefill"], &decode = at["decode"];
    if (many) std::printf("depth %lld\n", decode["depth"].get<long long>());
    std::printf("prefill %5lld     %s%s\n", prefill["tokens"].get<long long>(),
                text(prefill["tokens_per_second"]).c_str(),
                share(prefill["share_of_peak"], "peak").c_str());
    std::printf("decode  %5lld x%-3lld%s%s\n", decode["tokens"].get<long long>(),
                decode["batch"].get<long long>(), text(decode["tokens_per_second"]).c_str(),
                share(decode["share_of_bandwidth"], "bandwidth").c_str());
  }
  if (many) {
    const Json& line = result["step_by_depth"];
    std::printf("a decoding step: %.2f ms, and %.3f ms for each 1,000 tokens of depth (r^2 %.4f)\n",
                1e3 * line["seconds"].get<double>(),
                1e6 * line["seconds_per_cached_token"].get<double>(), line["r2"].get<double>());
  }
  if (const Json& peaks = result["peaks"]; !peaks.is_null()) {
    const auto giga = [&](const char* key) { return peaks[key].get<double>() / 1e9; };
    std::printf("peaks: int8 %.1f GOP/s, fp32 %.1f GFLOP/s, read %.1f GB/s\n",
                giga("int8_ops_per_second"), giga("fp32_ops_per_second"),
                giga("read_bytes_per_second"));
  }
  std::printf("load %.2f s, peak memory %.0f MB\n", result["load_seconds"].get<double>(),
              result["peak_rss_bytes"].get<double>() / 1e6);
}

void check_rising(const std::vector<int64_t>& depths) {
  if (std::adjacent_find(depths.begin(), depths.end(), std::greater_equal<>()) != depths.end())
    throw Error(ErrorCode::InvalidArgument, "--depth: several depths must rise");
}

/// Repeats prefill and decode of each depth in turns. Returns the CPU's peaks before, between and
/// after them; a GPU's limits are not measured.
std::vector<Peaks> measure(const BenchArguments& arguments, std::vector<Depth>& depths,
                           bool has_peaks) {
  std::optional<PeakProbe> probe;
  if (has_peaks) probe.emplace(arguments.threads);
  std::vector<Peaks> peaks;
  const auto look = [&] { peaks.push_back(probe ? probe->measure() : Peaks()); };
  const auto add = [&](Speed& speed, double rate) {
    look();
    speed.add(rate, peaks[peaks.size() - 2], peaks.back());
  };
  look();
  for (int repetition = 0; repetition < arguments.repetitions; ++repetition)
    for (Depth& depth : depths) {
      add(depth.prefill, depth.sequences.prefill());
      add(depth.decode, depth.sequences.decode());
    }
  return peaks;
}

/// The speeds of all depths, with the line through their steps.
void add_depths(const BenchArguments& arguments, const std::vector<Depth>& depths, Json& result) {
  std::vector<std::pair<int64_t, double>> seconds_at;
  for (size_t i = 0; i < depths.size(); ++i) {
    result["depths"].push_back(depths[i].json(arguments, arguments.depths[i]));
    seconds_at.emplace_back(arguments.depths[i],
                            static_cast<double>(arguments.batch) / depths[i].decode.rate().median);
  }
  result["step_by_depth"] = step_line(seconds_at);
}

void run(const BenchArguments& arguments) {
  check_rising(arguments.depths);
  double load_seconds = 0;
  const Model model = load(arguments, load_seconds);
  if (arguments.serve.on) return bench_serve(model, arguments.serve, arguments.json);
  const bool has_peaks = std::string_view(model.device()) == "cpu";
  std::vector<Depth> depths;
  depths.reserve(arguments.depths.size());  // each reads from the one before
  for (const int64_t depth : arguments.depths) {
    depths.emplace_back(arguments, model, depth, depths.empty() ? nullptr : &depths.back(),
                        has_peaks);
    depths.back().sequences.warm_up();
  }
  const uint64_t rss = peak_rss_bytes();  // the probe's buffer is not the model's
  const std::vector<Peaks> peaks = measure(arguments, depths, has_peaks);
  Json result = {{"shape", arguments.shape.empty() ? arguments.path : arguments.shape},
                 {"scheme", to_string(model.scheme())},
                 {"kv_cache", to_string(model.kv_cache())},
                 {"exact", arguments.exact},
                 {"isa", model.instruction_set()},
                 {"device", model.device()},
                 {"threads", model.threads()},
                 {"load_seconds", load_seconds},
                 {"weight_bytes", model.weight_bytes()},
                 {"peak_rss_bytes", rss}};
  result.update(depths[0].json(arguments, arguments.depths[0]));
  result["peaks"] = has_peaks ? peaks_json(best(peaks)) : Json();
  if (depths.size() > 1) add_depths(arguments, depths, result);
  arguments.json ? print_json(result) : print(result);
}

void add_serve(CLI::App& command, ServeArguments& serve) {
  CLI::Option* on = command.add_flag(
      "--serve", serve.on, "instead: the time between tokens of streams that an engine serves");
  const auto add = [&](const char* name, auto& value, const char* help) {
    return command.add_option(name, value, help)->capture_default_str()->needs(on);
  };
  add("--streams", serve.streams, "streams that go on all the time")->check(CLI::Range(1, 1024));
  add("--seconds", serve.seconds, "how long to measure")->check(CLI::Range(0.1, 86400.0));
  add("--long-prompt", serve.long_prompt, "tokens of the prompts that come in between")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24));
  add("--long-every", serve.long_every, "seconds from one of them to the next; 0: none")
      ->check(CLI::Range(0.0, 86400.0));
  add("--prompt-seconds", serve.prompt_seconds, "time that a prompt is spread over")
      ->check(CLI::Range(0.0, 86400.0));
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
  add_arithmetic(*command, arguments->kv_cache, arguments->exact);
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
  command
      ->add_option("--depth", arguments->depths,
                   "tokens in the KV cache before; several, rising (1024,2048), are measured in "
                   "turns")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24));
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

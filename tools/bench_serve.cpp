#include "bench_serve.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <fstream>
#include <mutex>
#include <thread>

#include "common.h"

namespace octet::tools {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double tolerance = 0.15;  // of the median
constexpr double min_warm_seconds = 5, warm_prompts = 3;

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

/// Ids that differ from request to request, so that no prompt is found in the cache.
std::vector<int32_t> some_ids(int64_t count, int64_t vocab, int64_t seed) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<int32_t>((i * 7919 + seed * 104729 + 13) % vocab));
  return ids;
}

EngineRequest make_request(const Model& model, int64_t prompt, int64_t tokens, int64_t seed) {
  EngineRequest request;
  request.prompt = some_ids(prompt, model.config().vocab_size, seed);
  request.options = default_options(model);
  request.options.max_tokens = tokens;
  request.options.stop_at_end_tokens = false;
  request.options.sampler.seed = static_cast<uint64_t>(seed);
  return request;
}

/// The load: streams that go on until the end, and long prompts at fixed times, whether or not the
/// ones before have been answered (open loop).
class Load {
 public:
  Load(const Model& model, const ServeArguments& arguments)
      : model_(model), arguments_(arguments), engine_(model, options(model, arguments)) {}

  void run() {
    std::vector<std::thread> threads;
    for (int64_t i = 0; i < arguments_.streams; ++i)
      threads.push_back(start([this, i] { read_stream(i); }));
    while (!stop_ && started_ < arguments_.streams)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const Clock::time_point loaded = Clock::now();
    const auto after = [&](double seconds) {
      return loaded +
             std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    };
    // A steady load is measured, so not its beginning.
    const double warm = std::max(min_warm_seconds, warm_prompts * arguments_.long_every);
    begin_ = after(warm);
    measuring_ = true;
    const double end = warm + arguments_.seconds;
    for (int64_t i = 0; arguments_.long_every > 0; ++i) {
      const double at = static_cast<double>(i) * arguments_.long_every;
      if (at >= end || !wait_until(after(at))) break;
      threads.push_back(start([this, i] { read_long(i); }));
    }
    wait_until(after(end));
    stop_ = true;
    for (std::thread& thread : threads) thread.join();
    if (error_) std::rethrow_exception(error_);
    stats = engine_.stats();
  }

  std::vector<double> gaps;         ///< seconds between a stream's tokens
  std::vector<double> first_token;  ///< seconds, of the long prompts that were answered
  int64_t unanswered = 0;
  EngineStats stats;

 private:
  static EngineOptions options(const Model& model, const ServeArguments& arguments) {
    EngineOptions options;
    options.context = std::min<int64_t>(model.config().max_positions, 4096);
    options.prompt_seconds = arguments.prompt_seconds;
    options.steady = arguments.steady;
    const int64_t longs = arguments.long_every > 0 ? 4 : 0;
    options.max_running = std::max(options.max_running, arguments.streams + longs);
    options.kv_bytes = (arguments.streams + longs) * options.context * model.kv_bytes_per_token();
    return options;
  }

  /// A thread for `work`; what that throws ends the load and comes out of run().
  template <class Work>
  std::thread start(Work work) {
    return std::thread([this, work] {
      try {
        work();
      } catch (...) {
        std::lock_guard lock(mutex_);
        error_ = std::current_exception();
        stop_ = true;
        failed_.notify_one();
      }
    });
  }

  /// False if a thread failed before.
  bool wait_until(Clock::time_point time) {
    std::unique_lock lock(mutex_);
    return !failed_.wait_until(lock, time, [this] { return error_ != nullptr; });
  }

  /// Answers that fill the context, one after another.
  void read_stream(int64_t index) {
    std::vector<double> own;
    for (int64_t seed = index + 1; !stop_; seed += arguments_.streams) {
      Generation generation = engine_.submit(make_request(model_, 64, engine_.context(), seed));
      GenerationPiece piece;
      Clock::time_point last;
      while (!stop_ && generation.next(piece)) {
        const Clock::time_point now = Clock::now();
        if (seed == index + 1 && last == Clock::time_point()) ++started_;
        if (measuring_ && last >= begin_) own.push_back(seconds_between(last, now));
        last = now;
      }
    }
    std::lock_guard lock(mutex_);
    gaps.insert(gaps.end(), own.begin(), own.end());
  }

  void read_long(int64_t index) {
    const Clock::time_point submitted = Clock::now();
    Generation generation =
        engine_.submit(make_request(model_, arguments_.long_prompt, 16, 1000 + index));
    GenerationPiece piece;
    Generation::Poll poll = Generation::Poll::timeout;
    while (!stop_ && poll == Generation::Poll::timeout) poll = generation.poll(piece, 0.2);
    const double waited = seconds_between(submitted, Clock::now());
    {
      std::lock_guard lock(mutex_);
      if (poll == Generation::Poll::piece)
        first_token.push_back(waited);
      else
        ++unanswered;
    }
    while (!stop_ && poll != Generation::Poll::end) poll = generation.poll(piece, 0.2);
  }

  const Model& model_;
  const ServeArguments& arguments_;
  Engine engine_;
  std::atomic<int64_t> started_{0};
  std::atomic<bool> measuring_{false}, stop_{false};
  Clock::time_point begin_;
  std::mutex mutex_;  // of the results and error_
  std::condition_variable failed_;
  std::exception_ptr error_;
};

/// The value below which `share` of the sorted values lie.
double quantile(const std::vector<double>& sorted, double share) {
  const auto index = static_cast<size_t>(share * static_cast<double>(sorted.size() - 1) + 0.5);
  return sorted[index];
}

/// How often each bucket of 2 % of the median occurs, up to three times the median.
std::vector<int64_t> buckets(const std::vector<double>& gaps, double median) {
  std::vector<int64_t> counts(151);
  for (double gap : gaps) ++counts[static_cast<size_t>(std::min(gap / median / 0.02, 150.0))];
  return counts;
}

void draw(const std::string& path, const std::vector<double>& sorted, const std::string& title) {
  const double median = quantile(sorted, 0.5);
  const std::vector<int64_t> counts = buckets(sorted, median);
  const auto most = static_cast<double>(*std::max_element(counts.begin(), counts.end()));
  constexpr double width = 930, height = 300, left = 40, bottom = 260, bar = 5.6;
  const auto x = [&](double times_median) { return left + times_median / 0.02 * bar; };
  std::ofstream out(path);
  const auto line = [&](double at, const char* color) {
    out << "<line x1='" << x(at) << "' x2='" << x(at) << "' y1='30' y2='" << bottom << "' stroke='"
        << color << "'/>\n";
  };
  out << "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 " << width << " " << height
      << "' font-family='sans-serif' font-size='12'>\n<rect width='100%' height='100%' "
         "fill='white'/>\n<text x='"
      << left << "' y='18'>" << title << "</text>\n<rect x='" << x(1 - tolerance)
      << "' y='30' width='" << x(1 + tolerance) - x(1 - tolerance) << "' height='" << bottom - 30
      << "' fill='#e6f2e6'/>\n";
  for (size_t i = 0; i < counts.size(); ++i) {
    const double tall = static_cast<double>(counts[i]) / most * (bottom - 30);
    out << "<rect x='" << left + static_cast<double>(i) * bar << "' y='" << bottom - tall
        << "' width='" << bar - 0.6 << "' height='" << tall << "' fill='#336699'/>\n";
  }
  line(quantile(sorted, 0.05) / median, "#cc3300");
  line(quantile(sorted, 0.95) / median, "#cc3300");
  for (double tick = 0; tick <= 3; tick += 0.5)
    out << "<text x='" << x(tick) << "' y='" << bottom + 16 << "' text-anchor='middle'>"
        << static_cast<int>(tick * median * 1e3 + 0.5) << " ms</text>\n";
  out << "<text x='" << left << "' y='" << bottom + 34
      << "'>time between a stream's tokens; green: 15 % around the median; red: 5 % and 95 %"
         "</text>\n</svg>\n";
  if (!out.flush()) throw Error(ErrorCode::Io, path + ": cannot write");
}

Json report(const Load& load, const ServeArguments& arguments, const Model& model) {
  std::vector<double> gaps = load.gaps, first = load.first_token;
  if (gaps.size() < 20)
    throw Error(ErrorCode::InvalidArgument, "bench --serve: only " + std::to_string(gaps.size()) +
                                                " tokens in this time; give it more --seconds");
  std::sort(gaps.begin(), gaps.end());
  std::sort(first.begin(), first.end());
  const double median = quantile(gaps, 0.5), p5 = quantile(gaps, 0.05), p95 = quantile(gaps, 0.95);
  const auto inside = std::count_if(gaps.begin(), gaps.end(), [&](double gap) {
    return gap >= (1 - tolerance) * median && gap <= (1 + tolerance) * median;
  });
  if (!arguments.plot.empty()) {
    char title[160];
    std::snprintf(
        title, sizeof title, "%lld streams, a prompt of %lld tokens every %g s: median %.1f ms",
        static_cast<long long>(arguments.streams), static_cast<long long>(arguments.long_prompt),
        arguments.long_every, median * 1e3);
    draw(arguments.plot, gaps, title);
  }
  return {{"scheme", to_string(model.scheme())},
          {"isa", model.instruction_set()},
          {"device", model.device()},
          {"threads", model.threads()},
          {"streams", arguments.streams},
          {"steady", arguments.steady},
          {"seconds", arguments.seconds},
          {"tokens_per_second", static_cast<double>(gaps.size()) / arguments.seconds},
          {"inter_token_seconds",
           {{"p5", p5},
            {"median", median},
            {"p95", p95},
            {"min", gaps.front()},
            {"max", gaps.back()},
            {"p5_of_median", p5 / median},
            {"p95_of_median", p95 / median},
            {"within_15_percent", static_cast<double>(inside) / static_cast<double>(gaps.size())},
            {"count", gaps.size()}}},
          {"long_prompts",
           {{"tokens", arguments.long_prompt},
            {"every_seconds", arguments.long_every},
            {"answered", first.size()},
            {"unanswered", load.unanswered},
            {"first_token_seconds", first}}},
          {"steps", load.stats.steps},
          {"prompt_tokens", load.stats.prompt_tokens}};
}

void print(const Json& result, const std::vector<double>& gaps) {
  const Json& latency = result["inter_token_seconds"];
  const auto ms = [&](const char* key) { return latency[key].get<double>() * 1e3; };
  std::printf("%lld streams for %.0f s: %.1f tokens/s together\n",
              result["streams"].get<long long>(), result["seconds"].get<double>(),
              result["tokens_per_second"].get<double>());
  std::printf(
      "between tokens: p5 %.1f ms (%+.1f %%), median %.1f ms, p95 %.1f ms (%+.1f %%), "
      "%.1f to %.1f ms\n",
      ms("p5"), 100 * (latency["p5_of_median"].get<double>() - 1), ms("median"), ms("p95"),
      100 * (latency["p95_of_median"].get<double>() - 1), ms("min"), ms("max"));
  std::printf("within 15 %% of the median: %.1f %%\n",
              100 * latency["within_15_percent"].get<double>());
  const Json& longs = result["long_prompts"];
  if (longs["every_seconds"] > 0.0) {
    std::printf("prompts of %lld tokens: %lld answered, %lld not yet; first token after",
                longs["tokens"].get<long long>(), longs["answered"].get<long long>(),
                longs["unanswered"].get<long long>());
    for (const Json& seconds : longs["first_token_seconds"])
      std::printf(" %.1f", seconds.get<double>());
    std::printf(" s\n");
  }
  const std::vector<int64_t> counts = buckets(gaps, ms("median") / 1e3);
  const int64_t most = *std::max_element(counts.begin(), counts.end());
  for (size_t i = 0; i < counts.size(); i += 5) {
    int64_t sum = 0;
    for (size_t j = i; j < std::min(i + 5, counts.size()); ++j) sum += counts[j];
    if (sum == 0) continue;
    std::printf(
        "%8.1f ms %7lld %s\n", static_cast<double>(i) * 0.02 * ms("median"),
        static_cast<long long>(sum),
        std::string(static_cast<size_t>(std::min<int64_t>(sum * 30 / most, 70)), '#').c_str());
  }
}

}  // namespace

void bench_serve(const Model& model, const ServeArguments& arguments, bool json) {
  Load load(model, arguments);
  load.run();
  const Json result = report(load, arguments, model);
  json ? print_json(result) : print(result, load.gaps);
}

}  // namespace octet::tools

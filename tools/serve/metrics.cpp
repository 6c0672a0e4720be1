#include "tools/serve/metrics.h"

#include <sstream>

namespace octet::serve {
namespace {

class Writer {
 public:
  void counter(const char* name, const char* help, uint64_t value) {
    header(name, help, "counter");
    text_ << name << ' ' << value << '\n';
  }
  void gauge(const char* name, const char* help, int64_t value) {
    header(name, help, "gauge");
    text_ << name << ' ' << value << '\n';
  }
  void requests(const std::map<std::pair<std::string, int>, uint64_t>& counts) {
    const char* name = "octet_http_requests_total";
    header(name, "Finished HTTP requests (status 499: the client went away first).", "counter");
    // Routes are this program's own and need no escapes.
    for (const auto& [key, count] : counts)
      text_ << name << "{route=\"" << key.first << "\",status=\"" << key.second << "\"} " << count
            << '\n';
  }
  void histogram(const char* name, const char* help, const Histogram& histogram) {
    header(name, help, "histogram");
    uint64_t below = 0;
    for (size_t i = 0; i < histogram.bounds.size(); ++i)
      text_ << name << "_bucket{le=\"" << histogram.bounds[i] << "\"} "
            << (below += histogram.count[i]) << '\n';
    text_ << name << "_bucket{le=\"+Inf\"} " << histogram.total << '\n'
          << name << "_sum " << histogram.sum << '\n'
          << name << "_count " << histogram.total << '\n';
  }
  std::string text() const { return text_.str(); }

 private:
  void header(const char* name, const char* help, const char* type) {
    text_ << "# HELP " << name << ' ' << help << "\n# TYPE " << name << ' ' << type << '\n';
  }
  std::ostringstream text_;
};

void write_engine(Writer& out, const EngineStats& stats) {
  out.gauge("octet_requests_waiting", "Generations in the queue.", stats.waiting);
  out.gauge("octet_requests_running", "Generations being made.", stats.running);
  out.gauge("octet_kv_pages", "KV cache pages of 64 positions.", stats.pages_total);
  out.gauge("octet_kv_pages_used", "KV cache pages held by running generations.", stats.pages_used);
  out.gauge("octet_kv_pages_cached", "KV cache pages kept for later prompts.", stats.pages_cached);
  out.counter("octet_generations_submitted_total", "Generations queued.", stats.submitted);
  out.counter("octet_generations_refused_total", "Generations refused as the queue was full.",
              stats.refused);
  out.counter("octet_generations_finished_total", "Generations that ended, in any way.",
              stats.finished);
  out.counter("octet_generations_cancelled_total", "Generations cancelled.", stats.cancelled);
  out.counter("octet_generations_failed_total", "Generations ended by an error.", stats.failed);
  out.counter("octet_prompt_tokens_total", "Prompt tokens evaluated.", stats.prompt_tokens);
  out.counter("octet_cached_tokens_total", "Prompt tokens found in the KV cache.",
              stats.cached_tokens);
  out.counter("octet_generated_tokens_total", "Tokens generated.", stats.generated_tokens);
  out.counter("octet_steps_total", "Steps of the decoder.", stats.steps);
  out.histogram("octet_batch_rows", "Rows of a step.", stats.batch);
  out.histogram("octet_queue_seconds", "Time in the queue.", stats.waiting_seconds);
  out.histogram("octet_first_token_seconds", "Time from submission to the first token.",
                stats.first_token_seconds);
  out.histogram("octet_inter_token_seconds", "Time between a generation's tokens.",
                stats.inter_token_seconds);
}

void write_connections(Writer& out, const ConnectionTable::Counts& counts) {
  out.gauge("octet_http_connections", "Open connections.", counts.open);
  out.gauge("octet_http_connections_serving", "Connections with a request being answered.",
            counts.serving);
  out.counter("octet_http_connections_total", "Connections accepted.", counts.accepted);
  out.counter("octet_http_connections_evicted_total",
              "Waiting connections closed to make place for others.", counts.evicted);
  out.counter("octet_http_connections_refused_total",
              "Connections refused as all places were serving.", counts.refused);
}

}  // namespace

void RequestCounts::add(const ExchangeRecord& record) {
  const std::lock_guard lock(mutex_);
  ++counts_[{record.route, record.status}];
}

std::map<std::pair<std::string, int>, uint64_t> RequestCounts::get() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

std::string metrics_text(const EngineStats& engine, const ConnectionTable::Counts& connections,
                         const RequestCounts& requests) {
  Writer out;
  write_engine(out, engine);
  write_connections(out, connections);
  out.requests(requests.get());
  return out.text();
}

}  // namespace octet::serve

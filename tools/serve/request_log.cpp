#include "tools/serve/request_log.h"

#include <unistd.h>

#include <cmath>
#include <ctime>

#include "tools/serve/json.h"

namespace octet::serve {
namespace {

/// "2026-11-25T17:39:00Z"
std::string now() {
  const std::time_t seconds = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

double rounded(double seconds) {
  return std::round(seconds * 1e4) / 1e4;
}

/// The fields in their order; what is not known of a request is left out.
Json fields_of(const ExchangeRecord& record) {
  Json fields = {{"time", now()},           {"id", record.id},       {"client", record.client},
                 {"method", record.method}, {"route", record.route}, {"status", record.status}};
  if (record.prompt_tokens > 0) {
    fields["prompt_tokens"] = record.prompt_tokens;
    fields["cached_tokens"] = record.cached_tokens;
    fields["completion_tokens"] = record.completion_tokens;
  }
  if (record.first_token_seconds > 0)
    fields["first_token_seconds"] = rounded(record.first_token_seconds);
  fields["seconds"] = rounded(record.seconds);
  if (!record.prompt.empty()) fields["prompt"] = record.prompt;
  if (!record.answer.empty()) fields["answer"] = record.answer;
  return fields;
}

}  // namespace

std::string log_line(const ExchangeRecord& record, LogFormat format) {
  const Json fields = fields_of(record);
  if (format == LogFormat::json) return dump(fields);
  std::string line;
  for (const auto& [name, value] : fields.items()) {
    if (!line.empty()) line += ' ';
    // A method comes from the client; it and the contents are quoted, so a line stays one.
    const bool quoted = name == "prompt" || name == "answer" || name == "method";
    line += name + '=' + (value.is_string() && !quoted ? value.get<std::string>() : dump(value));
  }
  return line;
}

void write_log(const ExchangeRecord& record, LogFormat format) {
  const std::string line = log_line(record, format) + '\n';
  // If the log cannot be written, there is nowhere to say so.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace octet::serve

// Keys, log lines, metrics and encodings.
#include <doctest/doctest.h>
#include <octet/error.h>

#include <nlohmann/json.hpp>

#include "support/temporary_folder.h"
#include "tools/serve/api_key.h"
#include "tools/serve/assets.h"
#include "tools/serve/base64.h"
#include "tools/serve/metrics.h"
#include "tools/serve/request_log.h"

using namespace octet;
using namespace octet::serve;

TEST_CASE("keys are accepted whole and only so") {
  const test::TemporaryFolder folder;
  const ApiKeys keys = ApiKeys::load(folder.write("keys", "# mine\nalpha\r\n\nbeta\n"));
  CHECK(keys.required());
  CHECK(keys.accepts("Bearer alpha"));
  CHECK(keys.accepts("bearer beta"));
  for (const char* wrong : {"", "Bearer", "Bearer ", "alpha", "Bearer alph", "Bearer alphaa",
                            "Bearer alphaalpha", "Bearer ALPHA", "Bearer # mine", "Basic alpha"}) {
    CAPTURE(wrong);
    CHECK(!keys.accepts(wrong));
  }
  CHECK(!ApiKeys().required());
  CHECK_THROWS_AS(ApiKeys::load(folder.file("none")), Error);
  CHECK_THROWS_AS(ApiKeys::load(folder.write("empty", "# nothing\n")), Error);
  CHECK_THROWS_AS(ApiKeys::load(folder.write("spaces", "two words\n")), Error);
}

TEST_CASE("a log line is one line, and holds what the record does") {
  ExchangeRecord record;
  record.id = "1-2";
  record.client = "127.0.0.1";
  record.method = "GET\n";
  record.route = "/health";
  record.status = 200;
  record.prompt_tokens = 5;
  record.completion_tokens = 7;
  record.seconds = 0.25;
  const auto json = nlohmann::json::parse(log_line(record, LogFormat::json));
  CHECK(json["id"] == "1-2");
  CHECK(json["completion_tokens"] == 7);
  CHECK(json["seconds"] == 0.25);
  CHECK(!json.contains("prompt"));
  const std::string text = log_line(record, LogFormat::text);
  CHECK(text.find('\n') == std::string::npos);
  CHECK(text.find(" route=/health status=200 prompt_tokens=5 ") != std::string::npos);
  record.prompt = "a\nb";
  CHECK(log_line(record, LogFormat::text).ends_with(R"( prompt="a\nb")"));
}

TEST_CASE("metrics are in Prometheus' form, buckets cumulative") {
  EngineStats stats;
  stats.running = 3;
  stats.first_token_seconds = {{0.1, 0.5}, {2, 3, 4}, 12.5, 9};
  RequestCounts requests;
  ExchangeRecord record;
  record.route = "/v1/models/*";
  record.status = 404;
  requests.add(record);
  requests.add(record);
  const std::string text = metrics_text(stats, {}, requests);
  for (const char* line :
       {"# TYPE octet_requests_running gauge\noctet_requests_running 3\n",
        "octet_first_token_seconds_bucket{le=\"0.1\"} 2\n"
        "octet_first_token_seconds_bucket{le=\"0.5\"} 5\n"
        "octet_first_token_seconds_bucket{le=\"+Inf\"} 9\n"
        "octet_first_token_seconds_sum 12.5\noctet_first_token_seconds_count 9\n",
        "octet_http_requests_total{route=\"/v1/models/*\",status=\"404\"} 2\n"}) {
    CAPTURE(line);
    CHECK(text.find(line) != std::string::npos);
  }
}

TEST_CASE("base64 as RFC 4648 has it") {
  const char* expected[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
  for (size_t length = 0; length <= 6; ++length)
    CHECK(base64(std::string_view("foobar").substr(0, length)) == expected[length]);
  CHECK(base64("\xff\xff\xfe") == "///+");
}

TEST_CASE("the files inside of the program are whole") {
  CHECK(nlohmann::json::parse(openapi_json)["openapi"] == "3.1.0");
  CHECK(page_html.starts_with("<!doctype html>"));
  CHECK(page_html.ends_with("</html>\n"));
  for (const char* outside : {"src=\"http", "href=\"http", "url(", "@import"})
    CHECK(page_html.find(outside) == page_html.npos);
}

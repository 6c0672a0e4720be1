// octet eval against the same figures computed from `octet logits` by plain loops in double.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "support/command.h"
#include "support/text_model.h"

using namespace octet::testing;
using Json = nlohmann::json;

namespace {

Json json_of(const std::vector<std::string>& arguments) {
  const CommandResult result = run_octet(arguments);
  CAPTURE(result.err);
  REQUIRE(result.status == 0);
  return Json::parse(result.out);
}

/// A checkpoint whose tokens are the bytes of a text.
const std::string& byte_model() {
  static const TempDir folder;
  static const std::string path = [] {
    make_text_model("tiny-qwen2", folder.path("source"));
    return folder.path("source");
  }();
  return path;
}

std::string some_text(size_t bytes) {
  std::string text;
  for (int i = 0; text.size() < bytes; ++i)
    text += "Line " + std::to_string(i * i) + " of a text, \"quoted\".\n";
  return text.substr(0, bytes);
}

/// Logits of each row of each window of `context` bytes, but the last, which predicts nothing.
/// The ids of text_model.h are the bytes.
std::vector<std::vector<double>> window_logits(const std::string& scheme, const std::string& text,
                                               size_t context) {
  const TempDir folder;
  Json lists = Json::array();
  for (size_t begin = 0; begin < text.size(); begin += context) {
    const std::string window = text.substr(begin, context);
    lists.push_back(std::vector<int>(window.begin(), window.end()));
  }
  std::ofstream(folder.path("ids.json")) << lists;
  json_of({"logits", byte_model(), "--scheme", scheme, "--ids-file", folder.path("ids.json"), "-o",
           folder.path("out"), "--json"});
  std::vector<std::vector<double>> rows;
  const Expected file(folder.path("out"));
  for (size_t list = 0; list < lists.size(); ++list) {
    const std::vector<float> all = file.f32("logits." + std::to_string(list));
    const size_t vocab = all.size() / lists[list].size();
    for (size_t row = 0; row + 1 < lists[list].size(); ++row)
      rows.emplace_back(all.begin() + static_cast<std::ptrdiff_t>(row * vocab),
                        all.begin() + static_cast<std::ptrdiff_t>((row + 1) * vocab));
  }
  return rows;
}

std::vector<double> softmax(std::vector<double> row) {
  double sum = 0;
  for (double& value : row) sum += value = std::exp(value);
  for (double& value : row) value /= sum;
  return row;
}

std::vector<size_t> ranking(const std::vector<double>& row) {
  std::vector<size_t> ids(row.size());
  std::iota(ids.begin(), ids.end(), size_t{0});
  std::stable_sort(ids.begin(), ids.end(), [&](size_t a, size_t b) { return row[a] > row[b]; });
  return ids;
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double standard_error(const std::vector<double>& values) {
  double squares = 0;
  for (double value : values) squares += (value - mean(values)) * (value - mean(values));
  const auto count = static_cast<double>(values.size());
  return std::sqrt(squares / (count - 1)) / std::sqrt(count);
}

}  // namespace

TEST_CASE("eval's figures are those of plain loops over both models' logits") {
  constexpr size_t context = 48;
  const std::string text = some_text(5 * context + 7);
  std::vector<size_t> targets;
  for (size_t i = 0; i < text.size(); ++i)
    if (i % context != 0) targets.push_back(static_cast<unsigned char>(text[i]));
  const auto reference = window_logits("f32", text, context);
  const auto model = window_logits("w8a8", text, context);
  REQUIRE(reference.size() == targets.size());

  std::vector<double> kl, top1, top5, nll, difference;
  for (size_t i = 0; i < targets.size(); ++i) {
    const std::vector<double> p = softmax(reference[i]), q = softmax(model[i]);
    double sum = 0;
    for (size_t j = 0; j < p.size(); ++j) sum += p[j] * std::log(p[j] / q[j]);
    kl.push_back(sum);
    const std::vector<size_t> a = ranking(p), b = ranking(q);
    top1.push_back(a[0] == b[0]);
    std::set<size_t> both(a.begin(), a.begin() + 5);
    both.insert(b.begin(), b.begin() + 5);
    top5.push_back(static_cast<double>(10 - both.size()) / 5);
    nll.push_back(-std::log(q[targets[i]]));
    difference.push_back(nll.back() + std::log(p[targets[i]]));
  }
  const TempDir folder;
  std::ofstream(folder.path("text")) << text;
  const Json got = json_of({"eval", byte_model(), "--text", folder.path("text"), "--ctx",
                            std::to_string(context), "--against", byte_model(), "--json"});
  const auto near = [](double value) { return doctest::Approx(value).epsilon(1e-6); };
  CHECK(got["tokens"] == targets.size());
  CHECK(got["nll"] == near(mean(nll)));
  CHECK(got["perplexity"] == near(std::exp(mean(nll))));
  CHECK(got["kl"]["mean"] == near(mean(kl)));
  CHECK(mean(kl) > 1e-5);
  CHECK(got["kl"]["standard_error"] == near(standard_error(kl)));
  CHECK(got["top1_agreement"] == near(mean(top1)));
  CHECK(got["top5_agreement"] == near(mean(top5)));
  CHECK(mean(top5) < 1);
  const double ratio = std::exp(mean(difference));
  CHECK(got["perplexity_ratio"] == near(ratio));
  CHECK(got["perplexity_ratio_standard_error"] == near(ratio * standard_error(difference)));
  std::sort(kl.begin(), kl.end());
  const auto rank = [&](double share) {  // counted from 1
    return kl[static_cast<size_t>(std::ceil(share * static_cast<double>(kl.size()))) - 1];
  };
  CHECK(got["kl"]["median"] == doctest::Approx(rank(0.5)).epsilon(5e-4));
  CHECK(got["kl"]["p99"] == doctest::Approx(rank(0.99)).epsilon(5e-4));
  CHECK(got["kl"]["max"] == near(kl.back()));
}

TEST_CASE("eval scores the tokens behind --skip alone") {
  const TempDir folder;
  std::ofstream(folder.path("text")) << some_text(200);
  const auto nll_sum = [&](const char* skip) {
    const Json got = json_of({"eval", byte_model(), "--text", folder.path("text"), "--ctx", "50",
                              "--skip", skip, "--threads", "1", "--json"});
    const auto tokens = got["tokens"].get<double>();
    CHECK(tokens == 4 * (50 - std::stoi(skip)));
    return tokens * got["nll"].get<double>();
  };
  // Four windows: the first 30 positions of each, evaluated as windows of their own, and the rest.
  std::string beginnings;
  for (size_t window = 0; window < 4; ++window)
    beginnings += some_text(200).substr(50 * window, 31);
  std::ofstream(folder.path("beginnings")) << beginnings;
  const Json first = json_of({"eval", byte_model(), "--text", folder.path("beginnings"), "--ctx",
                              "31", "--threads", "1", "--json"});
  const double expected = nll_sum("1") - 120 * first["nll"].get<double>();
  CHECK(nll_sum("31") == doctest::Approx(expected).epsilon(1e-9));
  CHECK(run_octet({"eval", byte_model(), "--text", folder.path("text"), "--skip", "512"})
            .err.find("octet: error: InvalidArgument: ") == 0);
}

TEST_CASE("eval reads a file or stdin, and says what is wrong with a text") {
  const TempDir folder;
  std::ofstream(folder.path("text")) << some_text(300);
  std::ofstream(folder.path("short")) << "a";
  const auto eval = [&](const std::string& path, const std::string& input = "") {
    return run_octet({"eval", byte_model(), "--text", path, "--max-tokens", "40", "--ctx", "16"},
                     input);
  };
  const CommandResult file = eval(folder.path("text"));
  CHECK(file.status == 0);
  CHECK(file.out.starts_with("tokens scored     37\n"));  // 15 + 15 + 7
  CHECK(eval("-", some_text(300)).out == file.out);
  CHECK(eval(folder.path("missing")).err.find("octet: error: Io: ") == 0);
  CHECK(eval(folder.path("short")).err.find("octet: error: InvalidArgument: ") == 0);
  CHECK(eval("-", "a\xff").err.find("octet: error: InvalidArgument: ") == 0);
}

TEST_CASE(
    "eval --layers lists every linear, two planes cost less than one, and --plot draws them") {
  const TempDir folder;
  std::ofstream(folder.path("text")) << some_text(600);
  const auto linears = [&](const std::string& mixed) {
    const std::string model = folder.path(mixed);
    REQUIRE(run_octet({"convert", byte_model(), "-o", model, "--mixed", mixed, "--calibrate",
                       folder.path("text")})
                .status == 0);
    return json_of({"eval", model, "--against", byte_model(), "--text", folder.path("text"),
                    "--ctx", "64", "--max-tokens", "128", "--layers", "--plot",
                    folder.path("plot.svg"), "--json"})["linears"];
  };
  const Json one = linears("off"), two = linears("q,k,v,o,gate,up,down,head");
  REQUIRE(one.size() == 4 * 7 + 2);
  CHECK(one[0]["weight"] == "model.layers.0.self_attn.q_proj.weight");
  CHECK(one.back()["weight"] == "lm_head.weight");
  double shares = 0, kl_one = 0, kl_two = 0;
  for (size_t i = 0; i < one.size(); ++i) {
    shares += one[i]["share"].get<double>();
    kl_one += one[i]["kl"].get<double>();
    kl_two += two[i]["kl"].get<double>();
    const double error = one[i]["relative_error"].get<double>();
    CAPTURE(one[i]["weight"]);
    if (i == one.size() - 2) continue;  // the embedding
    CHECK(error > 1e-4);
    CHECK(error < 0.1);
    CHECK(two[i]["relative_error"].get<double>() < error);
  }
  CHECK(shares == doctest::Approx(1));
  CHECK(kl_one > 0);
  CHECK(kl_two < kl_one);
  std::ifstream file(folder.path("plot.svg"));
  const std::string svg{std::istreambuf_iterator<char>(file), {}};
  CHECK(svg.starts_with("<svg"));
  CHECK(svg.ends_with("</svg>\n"));
  size_t bars = 0;
  for (size_t at = 0; (at = svg.find("<rect", at)) != std::string::npos; ++at) ++bars;
  CHECK(bars == 1 + one.size() + 8);  // the background, and the legend's seven kinds and head
  CHECK(svg.find(">down<") != std::string::npos);
}

TEST_CASE("eval --layers says what it needs") {
  const TempDir folder;
  std::ofstream(folder.path("text")) << some_text(300);
  const auto status = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"eval", byte_model(), "--text", folder.path("text")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_octet(arguments).status;
  };
  CHECK(status({"--layers"}) == 1);                             // no reference
  CHECK(status({"--layers", "--against", byte_model()}) == 1);  // not converted
  CHECK(status({"--plot", folder.path("p.svg")}) == 2);
}

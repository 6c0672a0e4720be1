// The command's contract: options, exit statuses, JSON keys (DESIGN: other programs call these).
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support/command.h"
#include "support/text_model.h"

using namespace octet::testing;
using Json = nlohmann::json;

namespace {

Json json_of(const CommandResult& result) {
  CAPTURE(result.err);
  CAPTURE(result.out);
  REQUIRE(result.status == 0);
  return Json::parse(result.out);
}

/// A folder with a checkpoint that has a tokenizer, `source`, and what it was converted to.
const TempDir& models() {
  static const TempDir folder;
  static const bool made = [] {
    make_text_model("tiny-qwen2", folder.path("source"));
    const CommandResult result = run_octet({"convert", folder.path("source"), "-o",
                                            folder.path("m.int8.safetensors"), "--threads", "2"});
    CAPTURE(result.err);
    REQUIRE(result.status == 0);
    return true;
  }();
  (void)made;
  return folder;
}
std::string source() {
  return models().path("source");
}
std::string converted() {
  return models().path("m.int8.safetensors");
}

}  // namespace

TEST_CASE("every subcommand has help with an example; wrong usage is status 2") {
  for (const char* name : {"convert", "export", "run", "chat", "logits", "tokenize", "template",
                           "eval", "bench", "inspect", "devices"}) {
    CAPTURE(name);
    const CommandResult help = run_octet({name, "--help"});
    CHECK(help.status == 0);
    CHECK(help.out.find("Example: ") != std::string::npos);
    for (const char* option : {"--device", "--threads", "--json"})
      CHECK(help.out.find(option) != std::string::npos);
    CHECK(run_octet({name, "--no-such-option"}).status == 2);
  }
  CHECK(run_octet({}).status == 2);
  const CommandResult unknown = run_octet({"fly"});
  CHECK(unknown.status == 2);
  CHECK(unknown.err.find("fly") != std::string::npos);
  CHECK(run_octet({"logits", converted(), "-o", "x"}).status == 2);
  CHECK(run_octet({"run", converted(), "-n", "many"}).status == 2);
  CHECK(run_octet({"run", converted(), "-p", "x", "-n", "-1"}).status == 2);
  CHECK(run_octet({"run", converted(), "-p", "x", "--lookup", "maybe"}).status == 2);
  for (const char* option : {"--streams", "--seconds", "--long-prompt"})
    CHECK(run_octet({"bench", converted(), "--serve", option, "0"}).status == 2);
}

TEST_CASE("wrong usage is said in the form of every error") {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"fly"},
        {"run"},
        {"bench", converted(), "--reps", "0"},
        {"convert", fixture("tiny-qwen2"), "-o", ""},
        {"export", converted(), "--format", "hf", "-o", ""},
        {"logits", converted(), "--ids", "1", "-o", ""}}) {
    CAPTURE(arguments[0]);
    const CommandResult result = run_octet(arguments);
    CHECK(result.status == 2);
    CHECK(result.err.find("octet: error: InvalidArgument: ") == 0);
    CHECK((arguments.back() != "" ||
           result.err.find("--output: the name is empty") != result.err.npos));
  }
}

TEST_CASE("a text that is not UTF-8 is called by where it came from") {
  const TempDir folder;
  const std::string broken = "a\xff", file = folder.path("text");
  std::ofstream(file) << broken;
  const auto refused = [&](const std::vector<std::string>& arguments, const std::string& origin,
                           const std::string& input = "") {
    const CommandResult result = run_octet(arguments, input);
    CHECK(result.status == 1);
    CHECK(result.err == "octet: error: InvalidArgument: " + origin + ": the text is not UTF-8\n");
  };
  refused({"run", converted(), "-p", broken}, "--prompt");
  refused({"run", converted(), "-f", file}, file);
  refused({"run", converted()}, "standard input", broken);
  refused({"chat", converted()}, "standard input", broken);
  refused({"chat", converted(), "--system", broken}, "--system");
  refused({"convert", converted(), "-o", folder.path("x"), "--calibrate", file}, file);
}

TEST_CASE("a signal leaves nothing half written behind") {
  const TempDir folder;
  const std::string out = folder.path("out"), ids = folder.path("ids.json");
  std::filesystem::create_directory(out);
  std::string list = "[1";
  for (int i = 0; i < 1000; ++i) list += ",1";
  std::ofstream file(ids);
  for (int i = 0; i < 100; ++i) file << (i ? "," : "[") << list << "]";
  file << "]";
  file.close();
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"convert", source(), "--mixed", "off", "-o", out + "/x"},
        {"logits", converted(), "--ids-file", ids, "-o", out + "/x"}}) {
    CAPTURE(arguments[0]);
    bool begun = false;
    const CommandResult result =
        terminate_octet(arguments, [&] { return begun = !std::filesystem::is_empty(out); });
    CHECK(begun);
    CHECK(result.status == 128 + SIGTERM);
    CHECK(result.err.empty());
    CHECK(std::filesystem::is_empty(out));
  }
}

TEST_CASE("failures are status 1 and one line on stderr") {
  const CommandResult missing = run_octet({"run", "no-such-file", "-p", "x"});
  CHECK(missing.status == 1);
  CHECK(missing.err.find("octet: error: Io: no-such-file") == 0);
  CHECK(missing.out.empty());
  const CommandResult scheme = run_octet({"convert", converted(), "-o", "x", "--scheme", "w1"});
  CHECK(scheme.status == 1);
  CHECK(scheme.err.find("octet: error: InvalidArgument: scheme 'w1'") == 0);
  const CommandResult cache = run_octet({"run", converted(), "-p", "x", "--kv-cache", "int4"});
  CHECK(cache.status == 1);
  CHECK(cache.err.find("octet: error: InvalidArgument: kv-cache 'int4'") == 0);
  const CommandResult mixed = run_octet({"run", converted(), "-p", "x", "--mixed", "foo"});
  CHECK(mixed.status == 1);
  CHECK(mixed.err.find("octet: error: InvalidArgument: mixed 'foo'") == 0);
  const CommandResult output = run_octet({"convert", source(), "-o", "no-such-folder/x"});
  CHECK(output.status == 1);
  CHECK(output.err.find("octet: error: Io: no-such-folder/x: cannot create") == 0);
  CHECK(output.seconds < 1);  // before the calibration
  const CommandResult cuda = run_octet({"run", converted(), "-p", "x", "--device", "cuda"});
  CHECK(cuda.status == 1);
  CHECK(cuda.err.find("octet: error: Device: ") == 0);
}

TEST_CASE("a directory or a device in a file's place is named, and stays what it is") {
  const TempDir folder;
  const std::string& path = folder.path();
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"run", converted(), "-f", path},
        {"logits", converted(), "--ids-file", path, "-o", folder.path("x")},
        {"convert", converted(), "-o", folder.path("x"), "--calibrate", path},
        {"eval", converted(), "--text", path},
        {"logits", converted(), "--ids", "1", "-o", path}}) {
    CAPTURE(arguments[0]);
    const CommandResult result = run_octet(arguments);
    CHECK(result.status == 1);
    CHECK(result.err.find("octet: error: Io: " + path) == 0);
  }
  const std::string device = folder.path("device");  // as /dev/null is one
  REQUIRE(mkfifo(device.c_str(), 0600) == 0);
  CHECK(run_octet({"logits", converted(), "--ids", "1", "-o", device}).status == 1);
  CHECK(std::filesystem::is_fifo(device));
}

TEST_CASE("a request that the engine refuses ends bench --serve") {
  const CommandResult result = run_octet({"bench", converted(), "--serve", "--streams", "1",
                                          "--seconds", "1", "--long-prompt", "99999"});
  CHECK(result.status == 1);
  CHECK(result.err.find("octet: error: InvalidArgument: the prompt has 99999 tokens") == 0);
}

TEST_CASE("run gives the same text again, with --json the numbers as well") {
  const std::vector<std::string> arguments = {"run", converted(), "-p", "Hello",  "-n",
                                              "24",  "--seed",    "5",  "--temp", "1"};
  const CommandResult once = run_octet(arguments), again = run_octet(arguments);
  CHECK(once.status == 0);
  CHECK(once.out.size() > 1);
  CHECK(once.out == again.out);
  CHECK(once.err.empty());
  std::vector<std::string> with_json = arguments;
  with_json.push_back("--json");
  const Json result = json_of(run_octet(with_json));
  CHECK(result["text"].get<std::string>() + "\n" == once.out);
  CHECK(result["generated_tokens"] <= 24);
  CHECK(result["accepted_tokens"] <= result["drafted_tokens"]);
  std::vector<std::string> with_stats = arguments;
  with_stats.push_back("--stats");
  with_stats.insert(with_stats.end(), {"--lookup", "off"});
  const CommandResult stats = run_octet(with_stats);
  CHECK(stats.out == once.out);
  CHECK(stats.err.find("tokens/s") != std::string::npos);
  CHECK(run_octet({"run", converted(), "-n", "24", "--seed", "5", "--temp", "1"}, "Hello").out ==
        once.out);
}

TEST_CASE("chat answers line by line, in one conversation") {
  const CommandResult result =
      run_octet({"chat", converted(), "--greedy", "-n", "6", "--json"}, "One\nTwo\n/reset\nOne\n");
  CAPTURE(result.err);
  REQUIRE(result.status == 0);
  std::istringstream lines(result.out);
  std::vector<Json> answers;
  for (std::string line; std::getline(lines, line);) answers.push_back(Json::parse(line));
  REQUIRE(answers.size() == 3);
  CHECK(answers[1]["cached_tokens"] > 0);
  CHECK(answers[0]["text"] == answers[2]["text"]);
}

TEST_CASE("logits writes the reference's logits") {
  const TempDir folder;
  const Expected expected(fixture("tiny-qwen2/expected.safetensors"));
  const std::vector<int32_t> ids = expected.i32("p7.ids");
  std::string text;
  for (int32_t id : ids) text += (text.empty() ? "" : ",") + std::to_string(id);
  const std::string out = folder.path("out.safetensors");
  const std::vector<std::string> common = {"logits", fixture("tiny-qwen2"), "--scheme", "f32", "-o",
                                           out};
  const auto run = [&](std::vector<std::string> more) {
    more.insert(more.begin(), common.begin(), common.end());
    const CommandResult result = run_octet(more);
    CAPTURE(result.err);
    REQUIRE(result.status == 0);
  };
  const std::vector<float> reference = expected.f32("p7.logits");
  run({"--ids", text, "--greedy", "32"});
  CHECK(max_difference(Expected(out).f32("logits"), reference) < 2e-4 * max_magnitude(reference));
  CHECK(Expected(out).i32("greedy") == expected.i32("p7.greedy"));

  std::ofstream(folder.path("ids.json")) << "[[" << text << "], [1]]";
  run({"--ids-file", folder.path("ids.json"), "--last"});
  const std::vector<float> last(reference.end() - 1024, reference.end());
  CHECK(max_difference(Expected(out).f32("logits.0"), last) < 2e-4 * max_magnitude(reference));
  CHECK(Expected(out).f32("logits.1").size() == 1024);

  for (const char* bad : {"", "1,,2", "1,", "x", "1 2", "99999999999"}) {
    CAPTURE(bad);
    CHECK(run_octet({"logits", fixture("tiny-qwen2"), "-o", out, "--ids", bad}).status != 0);
  }
  CHECK(run_octet({"logits", fixture("tiny-qwen2"), "-o", out, "--ids", "1024"}).status == 1);
}

TEST_CASE("export writes what can be read again; logits takes adapters, merged or beside") {
  const TempDir folder;
  const std::string base = fixture("tiny-qwen2-tied"),
                    adapter = fixture("lora/tiny-qwen2-tied/all");
  const auto logits = [&](const std::string& model, std::vector<std::string> more) {
    const std::string out = folder.path("logits.safetensors");
    std::vector<std::string> words = {"logits", model, "--ids",    "5,190,17,3",
                                      "-o",     out,   "--scheme", "f32"};
    words.insert(words.end(), more.begin(), more.end());
    const CommandResult result = run_octet(words);
    REQUIRE_MESSAGE(result.status == 0, result.err);
    return Expected(out).f32("logits");
  };
  const std::string merged = folder.path("merged.safetensors"), hf = folder.path("hf");
  REQUIRE(run_octet({"convert", base, "-o", merged, "--scheme", "f32", "--lora", adapter + "=0.5",
                     "--lora", adapter + "=0.25"})
              .status == 0);
  const CommandResult result =
      run_octet({"export", merged, "-o", hf, "--format", "hf", "--type", "f32", "--json"});
  REQUIRE_MESSAGE(result.status == 0, result.err);
  CHECK(Json::parse(result.out)["tensors"].get<int>() > 20);
  const std::vector<float> beside = logits(base, {"--lora", adapter + "=0.75"});
  CHECK(max_difference(logits(hf, {}), beside) < 1e-3);
  CHECK(max_difference(logits(base, {}), beside) > 0.1);
  const CommandResult refused =
      run_octet({"logits", base, "--ids", "1", "-o", "x", "--lora", base});
  CHECK(refused.status == 1);
  CHECK(refused.err.find("adapter_model.safetensors") != std::string::npos);
  CHECK(run_octet({"logits", base, "--ids", "1", "-o", "x", "--lora", adapter + "=much"}).status ==
        1);
}

TEST_CASE("tokenize and template work on JSON lines") {
  const CommandResult ids =
      run_octet({"tokenize", converted()}, "{\"text\": \"ab\"}\n{\"text\": \"<|im_end|>\"}\n");
  CHECK(ids.status == 0);
  CHECK(ids.out == "{\"ids\":[97,98]}\n{\"ids\":[257]}\n");
  CHECK(run_octet({"tokenize", converted(), "--decode"}, "{\"ids\": [97, 257, 98]}\n").out ==
        "{\"text\":\"a<|im_end|>b\"}\n");
  CHECK(
      run_octet({"tokenize", converted(), "--decode", "--no-special"}, "{\"ids\": [97, 257, 98]}\n")
          .out == "{\"text\":\"ab\"}\n");
  for (const char* id : {"1.5", "258", "-1", "true", "99999999999", "[1]"}) {
    const CommandResult refused = run_octet({"tokenize", converted(), "--decode"},
                                            "{\"ids\": [97, " + std::string(id) + "]}\n");
    CHECK(refused.status == 1);
    CHECK(refused.err == "octet: error: InvalidArgument: standard input, line 1: ids: " +
                             std::string(id) + ", a list of ids from 0 to 257 expected\n");
  }
  CHECK(run_octet({"tokenize", converted(), "--decode"}, "{\"ids\": 97}").status == 1);
  const CommandResult bad = run_octet({"tokenize", converted()}, "{\"text\": \"a\"}\nnonsense\n");
  CHECK(bad.status == 1);
  CHECK(bad.err.find("line 2") != std::string::npos);

  const CommandResult rendered = run_octet(
      {"template", converted()},
      R"({"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": true})");
  CHECK(Json::parse(rendered.out)["text"] ==
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST_CASE("eval prints perplexity and the distance to a reference") {
  const TempDir folder;
  std::ofstream text(folder.path("text"));
  for (int i = 0; i < 40; ++i) text << "The quick brown fox, number " << i << ".\n";
  text.close();
  const Json alone = json_of(run_octet({"eval", converted(), "--text", folder.path("text"), "--ctx",
                                        "64", "--max-tokens", "300", "--json"}));
  CHECK(alone["tokens"] == 300 - 5);  // windows of 64: 64 * 4 + 44
  CHECK(alone["perplexity"].get<double>() == doctest::Approx(std::exp(alone["nll"].get<double>())));
  CHECK_FALSE(alone.contains("kl"));
  const Json same = json_of(run_octet({"eval", converted(), "--text", folder.path("text"),
                                       "--max-tokens", "100", "--against", converted(), "--json"}));
  CHECK(same["kl"]["max"].get<double>() < 1e-9);
  CHECK(same["top1_agreement"] == 1.0);
  CHECK(same["perplexity_ratio"].get<double>() == doctest::Approx(1.0));
  // The reference keeps its fp16 cache.
  const Json int8 =
      json_of(run_octet({"eval", converted(), "--text", folder.path("text"), "--max-tokens", "100",
                         "--kv-cache", "int8", "--against", converted(), "--json"}));
  CHECK(int8["kl"]["mean"].get<double>() > 0);
  CHECK(int8["kl"]["mean"].get<double>() < 0.01);
}

/// The line through the time of a step by depth, from the printed medians: slope and r^2 by the
/// differences of all pairs of depths.
void check_step_line(const Json& bench) {
  std::vector<double> depth, seconds;
  for (const Json& one : bench["depths"]) {
    depth.push_back(one["decode"]["depth"]);
    seconds.push_back(1 / one["decode"]["tokens_per_second"]["median"].get<double>());
  }
  double xx = 0, xy = 0, yy = 0, x = 0, y = 0;
  for (size_t i = 0; i < depth.size(); ++i) {
    x += depth[i] / static_cast<double>(depth.size());
    y += seconds[i] / static_cast<double>(depth.size());
    for (size_t j = 0; j < i; ++j) {
      const double dx = depth[i] - depth[j], dy = seconds[i] - seconds[j];
      xx += dx * dx;
      xy += dx * dy;
      yy += dy * dy;
    }
  }
  const Json& line = bench["step_by_depth"];
  CHECK(line["seconds_per_cached_token"] == doctest::Approx(xy / xx));
  CHECK(line["seconds"] == doctest::Approx(y - xy / xx * x));
  CHECK(line["r2"] == doctest::Approx(xy * xy / (xx * yy)));
}

TEST_CASE("bench measures several depths in turns") {
  const std::vector<std::string> options = {"bench", converted(), "--prompt", "4",      "--gen",
                                            "2",     "--reps",    "1",        "--depth"};
  const auto at = [&](const char* depths, bool json) {
    std::vector<std::string> arguments = options;
    arguments.push_back(depths);
    if (json) arguments.push_back("--json");
    return run_octet(arguments);
  };
  const Json bench = json_of(at("0,3,9", true));
  REQUIRE(bench["depths"].size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    const Json& one = bench["depths"][i];
    CHECK(one["decode"]["depth"] == std::vector{0, 3, 9}[i]);
    CHECK(one["prefill"]["tokens_per_second"]["median"] > 0);
    CHECK(one["decode"]["tokens_per_second"]["median"] > 0);
  }
  CHECK(bench["decode"]["depth"] == 0);
  check_step_line(bench);
  const CommandResult falling = at("9,3", false);
  CHECK(falling.status == 1);
  CHECK(falling.err.find("must rise") != std::string::npos);
}

TEST_CASE("bench, inspect and devices print their keys") {
  const Json bench =
      json_of(run_octet({"bench", converted(), "--prompt", "16", "--gen", "4", "--reps", "1",
                         "--batch", "2", "--depth", "3", "--kv-cache", "int8", "--json"}));
  for (const char* key : {"shape", "scheme", "isa", "device", "threads", "prefill", "decode",
                          "peaks", "load_seconds", "peak_rss_bytes"}) {
    CAPTURE(key);
    CHECK(bench.contains(key));
  }
  for (const char* key : {"min", "median", "max"}) {
    CHECK(bench["prefill"]["tokens_per_second"][key] > 0);
    CHECK(bench["decode"]["tokens_per_second"][key] > 0);
  }
  CHECK(bench["prefill"]["share_of_peak"] > 0);
  CHECK(bench["decode"]["share_of_bandwidth"] > 0);
  CHECK(bench["decode"]["batch"] == 2);
  CHECK(bench["kv_cache"] == "int8");
  CHECK(bench["peaks"]["int8_ops_per_second"] > 1e9);
  CHECK(bench["peaks"]["fp32_ops_per_second"] > 1e9);
  CHECK(bench["peaks"]["read_bytes_per_second"] > 1e8);
  CHECK(!bench.contains("depths"));
  CHECK(run_octet({"bench", "--shape", "no-such-shape"}).status == 2);

  const Json inspected = json_of(run_octet({"inspect", converted(), "--json"}));
  CHECK(inspected["scheme"] == "w8a8");
  CHECK(inspected["config"]["num_layers"] == 4);
  CHECK(inspected["tensors"].size() > 20);
  CHECK(json_of(run_octet({"inspect", fixture("tiny-llama"), "--json"}))["format"] ==
        "safetensors");
  const Json devices = json_of(run_octet({"devices", "--json"}));
  CHECK(devices["devices"][0]["name"] == "cpu");
}

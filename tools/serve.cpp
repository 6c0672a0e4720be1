#include <semaphore.h>

#include <csignal>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <memory>

#include "common.h"
#include "serve/app.h"

namespace octet::tools {
namespace {

struct ServeArguments : ModelArguments {
  serve::AppOptions app;
  std::string name, key_file, log_format = "text";
  bool no_auth = false;
  int64_t kv_megabytes = 0;
  double read_timeout = 30, write_timeout = 30, drain_seconds = 30;
};

// Posted by the signals that ask the server to end: all that a handler may do.
sem_t end_requests;

void request_end(int) {
  sem_post(&end_requests);
}

void catch_end_signals() {
  sem_init(&end_requests, 0, 0);
  struct sigaction action {};
  action.sa_handler = request_end;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

/// The name that clients give: --name, or the file's without its endings.
std::string model_name(const ServeArguments& arguments) {
  if (!arguments.name.empty()) return arguments.name;
  std::filesystem::path path(arguments.path);
  if (path.filename().empty()) path = path.parent_path();  // "folder/"
  std::string name = path.filename().string();
  for (const std::string_view ending : {".safetensors", ".gguf", ".int8"})
    if (name.ends_with(ending)) name.resize(name.size() - ending.size());
  return name;
}

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

void check_access(const ServeArguments& arguments, const serve::App& app) {
  if (app.loopback() || arguments.app.keys.required() || arguments.no_auth) return;
  throw Error(ErrorCode::InvalidArgument,
              "host " + arguments.app.server.host +
                  " can be reached from other machines: give --api-key-file, or --no-auth if "
                  "everyone may use the model");
}

std::string url(const ServeArguments& arguments, const serve::App& app) {
  const std::string& host = arguments.app.server.host;
  const bool v6 = host.find(':') != std::string::npos;
  return "http://" + (v6 ? '[' + host + ']' : host) + ':' + std::to_string(app.port());
}

void print_ready(const ServeArguments& arguments, const serve::App& app) {
  const std::string address = url(arguments, app);
  if (arguments.json)
    print_json({{"url", address}, {"port", app.port()}, {"model", arguments.app.model_name}});
  else
    std::cout << arguments.app.model_name << " is served at " << address << '\n';
  std::cout << std::flush;
}

void run(ServeArguments& arguments) {
  serve::AppOptions& options = arguments.app;
  options.model_name = model_name(arguments);
  if (!arguments.key_file.empty()) options.keys = serve::ApiKeys::load(arguments.key_file);
  options.log_format =
      arguments.log_format == "json" ? serve::LogFormat::json : serve::LogFormat::text;
  options.engine.kv_bytes = arguments.kv_megabytes << 20;
  options.server.limits.read_timeout = milliseconds(arguments.read_timeout);
  options.server.limits.write_timeout = milliseconds(arguments.write_timeout);

  const Model model = arguments.open();
  model.tokenizer();  // an error now, not at the first request
  serve::App app(model, options);
  check_access(arguments, app);
  catch_end_signals();
  app.start();
  print_ready(arguments, app);
  while (sem_wait(&end_requests) != 0) {
  }
  // A second signal ends the patience.
  app.stop(std::chrono::duration<double>(arguments.drain_seconds),
           [] { return sem_trywait(&end_requests) == 0; });
}

void add_limits(CLI::App& command, ServeArguments& arguments) {
  serve::ServerOptions& server = arguments.app.server;
  command.add_option("--max-body", server.limits.body_bytes, "bytes of a request's body")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  command.add_option("--max-connections", server.max_connections, "open at a time")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{10'000}));
  const CLI::Range seconds(0.1, 3600.0);
  command
      .add_option("--read-timeout", arguments.read_timeout,
                  "seconds in which a request must have arrived")
      ->capture_default_str()
      ->check(seconds);
  command
      .add_option("--write-timeout", arguments.write_timeout,
                  "seconds in which a client must take a part of its answer")
      ->capture_default_str()
      ->check(seconds);
  command
      .add_option("--drain-seconds", arguments.drain_seconds,
                  "after SIGTERM or SIGINT, so long may running requests take to end")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 86400.0));
}

void add_engine(CLI::App& command, ServeArguments& arguments) {
  EngineOptions& engine = arguments.app.engine;
  command
      .add_option("--ctx", engine.context,
                  "positions of a request, prompt and answer; 0: the model's own limit, at most "
                  "4096")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24));
  command
      .add_option("--kv-memory", arguments.kv_megabytes,
                  "MiB for keys and values of all requests; 0: for eight of that length")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24));
  command.add_option("--max-running", engine.max_running, "answers made at a time")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{4096}));
  command.add_option("--max-waiting", engine.max_waiting, "queue; beyond it requests get a 429")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{1'000'000}));
  command
      .add_option("--prompt-seconds", engine.prompt_seconds,
                  "time that a prompt is spread over beside running answers")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 86400.0));
  command.add_flag("--steady", engine.steady, "even times between an answer's tokens before speed");
}

void add_access(CLI::App& command, ServeArguments& arguments) {
  serve::AppOptions& app = arguments.app;
  command.add_option("--host", app.server.host, "address to listen on")->capture_default_str();
  command.add_option("--port", app.server.port, "0: a free one")
      ->capture_default_str()
      ->check(CLI::Range(0, 65535));
  command.add_option("--api-key-file", arguments.key_file,
                     "clients must show one of its keys, a line each");
  command.add_flag("--no-auth", arguments.no_auth,
                   "let everyone in who reaches --host, also without keys");
  command.add_option("--cors-origin", app.cors_origins,
                     "an origin whose pages may use the server; * is all");
}

}  // namespace

void add_serve(CLI::App& app) {
  auto arguments = std::make_shared<ServeArguments>();
  CLI::App* command = app.add_subcommand("serve", "OpenAI-compatible server and a chat page");
  command->footer("Example: octet serve r1.int8.safetensors --port 8080");
  add_access(*command, *arguments);
  command->add_option("--name", arguments->name,
                      "of the model, for clients; its file's if not given");
  add_engine(*command, *arguments);
  add_limits(*command, *arguments);
  command
      ->add_option("--log-format", arguments->log_format,
                   "text or json, a line a request on stderr")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "json"}));
  command->add_flag("--log-content", arguments->app.log_content,
                    "prompts and answers, too, in the log");
  arguments->add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace octet::tools

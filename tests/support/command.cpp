#include "support/command.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>

#include "support/fixtures.h"

extern char** environ;

namespace octet::testing {
namespace {

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// meanwhile: called with the program's number while it runs.
CommandResult run(std::vector<std::string> words, const std::string& input,
                  const std::function<void(pid_t)>& meanwhile) {
  const TempDir folder;
  std::ofstream(folder.path("in"), std::ios::binary) << input;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  const auto redirect = [&](int fd, const char* name, int flags) {
    posix_spawn_file_actions_addopen(&actions, fd, folder.path(name).c_str(), flags, 0600);
  };
  redirect(0, "in", O_RDONLY);
  redirect(1, "out", O_WRONLY | O_CREAT);
  redirect(2, "err", O_WRONLY | O_CREAT);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const auto start = std::chrono::steady_clock::now();
  pid_t child = 0;
  const int error = posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  REQUIRE_MESSAGE(error == 0, "cannot run ", argv[0]);
  meanwhile(child);
  int status = 0;
  rusage usage{};
  REQUIRE(wait4(child, &status, 0, &usage) == child);
  CommandResult result;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.peak_bytes = int64_t{usage.ru_maxrss} * 1024;
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = content(folder.path("out"));
  result.err = content(folder.path("err"));
  return result;
}

std::vector<std::string> octet_words(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {OCTET_COMMAND};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

}  // namespace

CommandResult run_program(std::vector<std::string> words, const std::string& input) {
  return run(std::move(words), input, [](pid_t) {});
}

CommandResult run_octet(const std::vector<std::string>& arguments, const std::string& input) {
  return run_program(octet_words(arguments), input);
}

CommandResult terminate_octet(const std::vector<std::string>& arguments,
                              const std::function<bool()>& ready) {
  return run(octet_words(arguments), "", [&](pid_t child) {
    for (int i = 0; i < 60000 && !ready(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    kill(child, SIGTERM);
  });
}

}  // namespace octet::testing

#include "support/command.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <utility>

#include "support/fixtures.h"

extern char** environ;

namespace octet::testing {
namespace {

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

CommandResult run_program(std::vector<std::string> words, const std::string& input) {
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

CommandResult run_octet(const std::vector<std::string>& arguments, const std::string& input) {
  std::vector<std::string> words = {OCTET_COMMAND};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return run_program(std::move(words), input);
}

}  // namespace octet::testing

// The installed octet: what lies where, and the examples built against it alone.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "support/command.h"
#include "support/text_model.h"

using namespace octet::testing;
namespace fs = std::filesystem;

namespace {

std::string succeed(const std::vector<std::string>& words) {
  const CommandResult result = run_program(words);
  CAPTURE(words[0]);
  CAPTURE(result.out);
  CAPTURE(result.err);
  REQUIRE(result.status == 0);
  return result.out;
}

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Files below a folder, by their paths in it.
std::set<std::string> files(const fs::path& folder) {
  std::set<std::string> paths;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) paths.insert(fs::relative(entry.path(), folder).string());
  return paths;
}

const TempDir& workplace() {
  static const TempDir folder;
  return folder;
}

/// This build, installed and then moved: what still points to the first place fails.
const std::string& prefix() {
  static const std::string path = [] {
    succeed({CMAKE, "--install", BUILD, "--prefix", workplace().path("first")});
    fs::rename(workplace().path("first"), workplace().path("moved"));
    return workplace().path("moved");
  }();
  return path;
}

/// The folder of the examples, built against the installed octet.
const std::string& examples() {
  static const std::string path = [] {
    const std::string build = workplace().path("examples");
    succeed({CMAKE, "-G", GENERATOR, "-S", SOURCE "/examples", "-B", build,
             "-DCMAKE_PREFIX_PATH=" + prefix(), "-DCMAKE_CXX_COMPILER=" CXX,
             "-DCMAKE_BUILD_TYPE=Release"});
    succeed({CMAKE, "--build", build});
    return build;
  }();
  return path;
}

/// A tiny model with a tokenizer, converted by the installed command.
const std::string& model() {
  static const std::string path = [] {
    make_text_model("tiny-qwen2", workplace().path("source"));
    const std::string converted = workplace().path("model.int8.safetensors");
    succeed({prefix() + "/bin/octet", "convert", workplace().path("source"), "-o", converted});
    return converted;
  }();
  return path;
}

}  // namespace

TEST_CASE("the installed headers are those of include/octet and no others") {
  CHECK(files(prefix() + "/include") == files(SOURCE "/include"));
}

TEST_CASE("the installed package names no folder of the machine that built it") {
  int configurations = 0;
  for (const std::string& name : files(prefix())) {
    if (!name.ends_with(".cmake")) continue;
    ++configurations;
    const std::string text = content(prefix() + "/" + name);
    CAPTURE(name);
    CHECK_FALSE(contains(text, SOURCE));
    CHECK_FALSE(contains(text, workplace().path()));
  }
  CHECK(configurations >= 3);
}

TEST_CASE("the installed command runs") {
  CHECK(contains(succeed({prefix() + "/bin/octet", "--version"}), VERSION));
}

TEST_CASE("the examples find the installed octet and no other") {
  const std::string cache = content(examples() + "/CMakeCache.txt");
  const size_t at = cache.find("octet_DIR:PATH=" + prefix() + "/");
  CHECK(at != std::string::npos);
  CHECK_FALSE(contains(cache, BUILD));
}

TEST_CASE("int8_matmul shows a smaller matrix and a small error") {
  const std::string text = succeed({examples() + "/int8_matmul"});
  CHECK(contains(text, "fp32 1572864 bytes, int8 395264 bytes"));  // 256 rows: 8 more bytes each
}

TEST_CASE("generate writes text from a model, and an error where there is none") {
  const std::string text = succeed({examples() + "/generate", model(), "Hi"});
  CHECK(text.size() > 1);
  const CommandResult missing = run_program({examples() + "/generate", "no-such-file", "Hi"});
  CHECK(missing.status == 1);
  CHECK(contains(missing.err, "generate: Io: no-such-file"));
  CHECK(run_program({examples() + "/generate"}).status == 2);
}

TEST_CASE("generate in C writes the same text, and the same error") {
  CHECK(succeed({examples() + "/generate_c", model(), "Hi"}) ==
        succeed({examples() + "/generate", model(), "Hi"}));
  const CommandResult missing = run_program({examples() + "/generate_c", "no-such-file", "Hi"});
  CHECK(missing.status == 1);
  CHECK(contains(missing.err, "generate_c: Io: no-such-file"));
  CHECK(run_program({examples() + "/generate_c"}).status == 2);
}

#if SHARED
TEST_CASE("a C compiler needs no more than the shared library's name") {
  const std::string program = workplace().path("generate_c");
  const std::string libraries = prefix() + "/" LIBRARY_DIR;
  succeed({"/usr/bin/cc", "-std=c99", "-I" + prefix() + "/include", SOURCE "/examples/generate.c",
           "-o", program, "-L" + libraries, "-loctet", "-Wl,-rpath," + libraries});
  CHECK(succeed({program, model(), "Hi"}) == succeed({examples() + "/generate_c", model(), "Hi"}));
}
#endif

TEST_CASE("custom_sampler writes the same text each time, and another for another prompt") {
  const std::string program = examples() + "/custom_sampler";
  const std::string text = succeed({program, model(), "Hi"});
  CHECK(text.size() > 1);
  CHECK(text == succeed({program, model(), "Hi"}));
  CHECK(text != succeed({program, model(), "Good day"}));
  CHECK(run_program({program, model()}).status == 2);
}

TEST_CASE("a project that asks for a later version is told so") {
  const std::string folder = workplace().path("later");
  fs::create_directory(folder);
  std::ofstream(folder + "/CMakeLists.txt") << "cmake_minimum_required(VERSION 3.22)\n"
                                               "project(later LANGUAGES CXX)\n"
                                               "find_package(octet 99 REQUIRED)\n";
  const CommandResult result =
      run_program({CMAKE, "-G", GENERATOR, "-S", folder, "-B", folder + "/build",
                   "-DCMAKE_PREFIX_PATH=" + prefix(), "-DCMAKE_CXX_COMPILER=" CXX});
  CHECK(result.status != 0);
  CHECK(contains(result.err, "99"));
  CHECK(contains(result.err, "version: " VERSION));
}

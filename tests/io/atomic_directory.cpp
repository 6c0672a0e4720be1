#include "lib/io/atomic_directory.h"

#include <octet/error.h>

#include <doctest/doctest.h>

#include "support/fixtures.h"

using namespace octet;
using namespace octet::testing;

TEST_CASE("an error about a directory's file names the path that it will have") {
  const TempDir folder;
  const AtomicDirectory directory(folder.path("out"));
  const auto message = [&](const std::string& name, uint64_t size) -> std::string {
    try {
      AtomicFile file(directory.file(name), size);
    } catch (const Error& error) {
      return error.what();
    }
    return "written";
  };
  // As where the disk is full.
  CHECK(message("weights", UINT64_MAX).find(folder.path("out") + "/weights: ") == 0);
  CHECK(message("no-folder/weights", 1).find(folder.path("out") + "/no-folder/weights: ") == 0);
  CHECK(message("weights", 1) == "written");
}

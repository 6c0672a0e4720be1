#pragma once
// The hostile files of tests/data: each breaks one rule, or is a good one that looks odd.
#include <string>
#include <vector>

#include "support/fixtures.h"

namespace octet::testing {

enum class Expect { reject, accept, either };

struct HostileCase {
  std::string file;  ///< of the fixture; empty: the content is brackets, nested five million deep
  std::string kind;  ///< "safetensors", "config", "index", "tokenizer", "gguf"
  std::string overlay;  ///< the file of a small valid model that it takes the place of
  Expect expect;
  std::string why;
};

/// All of manifest.json, with those that are to be built at test time.
std::vector<HostileCase> hostile_cases();

/// Puts the case into the empty folder and returns the path to open: the folder, or the .gguf file.
std::string place(const HostileCase& hostile, const TempDir& folder);

}  // namespace octet::testing

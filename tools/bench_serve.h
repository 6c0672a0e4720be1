#pragma once
// octet bench --serve: what those who read streams see while others come with long prompts.
#include <octet/engine.h>

#include <string>

namespace octet::tools {

struct ServeArguments {
  bool on = false;
  int64_t streams = 8;
  double seconds = 60;
  int64_t long_prompt = 2000;  ///< tokens
  double long_every = 10;      ///< seconds; 0: none come
  double prompt_seconds = 10;  ///< of the engine
  bool steady = false;         ///< of the engine
  std::string plot;            ///< an SVG file; empty: none
};

/// Measures and prints, as text or as one JSON object.
void bench_serve(const Model& model, const ServeArguments& arguments, bool json);

}  // namespace octet::tools

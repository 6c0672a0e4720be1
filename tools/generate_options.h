#pragma once
// The options of `run` and `chat` that say how text is made.
#include <optional>
#include <vector>

#include "common.h"

namespace octet::tools {

struct GenerateArguments : ModelArguments {
  std::optional<int64_t> max_tokens, top_k;
  std::optional<float> temperature, top_p, min_p;
  std::optional<float> repetition_penalty, presence_penalty, frequency_penalty;
  uint64_t seed = 0;
  bool greedy = false, stats = false;
  std::string lookup = "on";
  int64_t context = 0;
  std::vector<std::string> stop, lora;

  void add_to(CLI::App& command);
  /// The model's recommendation, overridden by what was given.
  GenerateOptions generate_options(const Model& model) const;
};

/// --stats, as text on stderr.
void print_stats(const Session& session);
Json stats_json(const Session& session);

}  // namespace octet::tools

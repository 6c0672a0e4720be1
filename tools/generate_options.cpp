#include "generate_options.h"

#include <cstdio>

namespace octet::tools {

void GenerateArguments::add_to(CLI::App& command) {
  ModelArguments::add_to(command);
  command.add_option("-n,--max-tokens", max_tokens, "most tokens to generate (512)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  command.add_option("--temp", temperature, "temperature; 0 is greedy");
  command.add_option("--top-k", top_k, "keep the k most probable tokens; 0: all");
  command.add_option("--top-p", top_p, "keep the most probable tokens that sum to this");
  command.add_option("--min-p", min_p, "keep tokens at least this probable against the best");
  command.add_option("--repetition-penalty", repetition_penalty, "of ids seen; 1: none");
  command.add_option("--presence-penalty", presence_penalty, "of ids generated; 0: none");
  command.add_option("--frequency-penalty", frequency_penalty, "by how often an id was generated");
  command.add_option("--seed", seed, "of the random numbers")->capture_default_str();
  command.add_flag("--greedy", greedy, "always the most probable token");
  command.add_option("--ctx", context, "positions of the KV cache; 0: the model's, at most 4096")
      ->capture_default_str();
  add_lora(command, lora);
  command.add_option("--stop", stop, "text that ends the answer; may be repeated");
  command.add_option("--lookup", lookup, "guess repeated text, for speed alone (int8 schemes)")
      ->capture_default_str()
      ->check(CLI::IsMember({"on", "off"}));
  command.add_flag("--stats", stats, "print tokens, times and memory to stderr");
}

GenerateOptions GenerateArguments::generate_options(const Model& model) const {
  GenerateOptions options = default_options(model);
  SamplerOptions& sampler = options.sampler;
  if (max_tokens) options.max_tokens = *max_tokens;
  if (temperature) sampler.temperature = *temperature;
  if (top_k) sampler.top_k = *top_k;
  if (top_p) sampler.top_p = *top_p;
  if (min_p) sampler.min_p = *min_p;
  if (repetition_penalty) sampler.repetition_penalty = *repetition_penalty;
  if (presence_penalty) sampler.presence_penalty = *presence_penalty;
  if (frequency_penalty) sampler.frequency_penalty = *frequency_penalty;
  if (greedy) sampler.temperature = 0;
  sampler.seed = seed;
  options.stop = stop;
  options.lookup = lookup == "on";
  return options;
}

namespace {

/// Tokens after the first, over the time they took.
double decode_rate(const GenerateStats& stats) {
  return stats.decode_seconds > 0
             ? static_cast<double>(stats.generated_tokens - 1) / stats.decode_seconds
             : 0;
}

double prefill_rate(const GenerateStats& stats) {
  return stats.prefill_seconds > 0
             ? static_cast<double>(stats.prompt_tokens) / stats.prefill_seconds
             : 0;
}

}  // namespace

void print_stats(const Session& session) {
  const GenerateStats& stats = session.stats();
  const Model& model = session.model();
  std::fprintf(stderr, "device %s (%s)%s%s\n", model.device(), model.instruction_set(),
               model.device_note().empty() ? "" : "; no CUDA: ", model.device_note().c_str());
  std::fprintf(
      stderr,
      "prompt %lld tokens (%lld cached), %.1f tokens/s; first token after %.3f s\n"
      "generated %lld tokens, %.1f tokens/s; stopped by %s; peak memory %.0f MB\n"
      "lookup drafted %lld tokens, %lld of them right\n",
      static_cast<long long>(stats.prompt_tokens), static_cast<long long>(stats.cached_tokens),
      prefill_rate(stats), stats.first_token_seconds,
      static_cast<long long>(stats.generated_tokens), decode_rate(stats), to_string(stats.stop),
      static_cast<double>(peak_rss_bytes()) / 1e6, static_cast<long long>(stats.drafted_tokens),
      static_cast<long long>(stats.accepted_tokens));
}

Json stats_json(const Session& session) {
  const GenerateStats& stats = session.stats();
  return {{"device", session.model().device()},
          {"prompt_tokens", stats.prompt_tokens},
          {"cached_tokens", stats.cached_tokens},
          {"generated_tokens", stats.generated_tokens},
          {"drafted_tokens", stats.drafted_tokens},
          {"accepted_tokens", stats.accepted_tokens},
          {"first_token_seconds", stats.first_token_seconds},
          {"prefill_tokens_per_second", prefill_rate(stats)},
          {"decode_tokens_per_second", decode_rate(stats)},
          {"stop", to_string(stats.stop)},
          {"peak_rss_bytes", peak_rss_bytes()}};
}

}  // namespace octet::tools

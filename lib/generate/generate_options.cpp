// What a checkpoint says about generating, and the names of the ends.
#include <octet/generate.h>

namespace octet {

const char* to_string(StopReason reason) noexcept {
  switch (reason) {
    case StopReason::none:
      return "none";
    case StopReason::end_token:
      return "end_token";
    case StopReason::stop_string:
      return "stop_string";
    case StopReason::limit:
      return "limit";
    case StopReason::callback:
      return "callback";
    case StopReason::context_full:
      return "context_full";
    case StopReason::constraint:
      return "constraint";
    case StopReason::cancelled:
      return "cancelled";
    case StopReason::deadline:
      return "deadline";
  }
  return "none";
}

GenerateOptions default_options(const Model& model) {
  const ModelConfig& config = model.config();
  GenerateOptions options;
  SamplerOptions& sampler = options.sampler;
  // A generation_config that says anything about sampling replaces octet's own defaults.
  const bool says =
      config.do_sample >= 0 || config.temperature >= 0 || config.top_k >= 0 || config.top_p >= 0;
  if (says) {
    sampler.temperature = config.do_sample == 0 ? 0.0f : 1.0f;
    sampler.top_k = 0;
    if (config.do_sample != 0 && config.temperature >= 0)
      sampler.temperature = static_cast<float>(config.temperature);
    if (config.top_k >= 0) sampler.top_k = config.top_k;
    if (config.top_p > 0) sampler.top_p = static_cast<float>(config.top_p);
  }
  if (config.min_p > 0) sampler.min_p = static_cast<float>(config.min_p);
  if (config.repetition_penalty > 0)
    sampler.repetition_penalty = static_cast<float>(config.repetition_penalty);
  return options;
}

}  // namespace octet

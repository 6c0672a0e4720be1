#include "tools/serve/sampling.h"

#include <random>

#include "tools/serve/api_error.h"

namespace octet::serve {
namespace {

constexpr int64_t max_choices = 8;
constexpr size_t max_stops = 16;
// JSON numbers beyond this are not exact for every client.
constexpr int64_t max_seed = int64_t{1} << 53;

uint64_t random_seed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

void set(float& option, const std::optional<double>& value) {
  if (value) option = static_cast<float>(*value);
}

void read_sampler(Fields& fields, SamplerOptions& sampler) {
  set(sampler.temperature, fields.number("temperature", 0, 2));
  set(sampler.top_p, fields.number("top_p", 0, 1));
  // "The fewest that reach at least 0" is the likeliest alone.
  if (sampler.top_p == 0) sampler.top_p = 1e-6f;
  set(sampler.min_p, fields.number("min_p", 0, 1));
  set(sampler.presence_penalty, fields.number("presence_penalty", -2, 2));
  set(sampler.frequency_penalty, fields.number("frequency_penalty", -2, 2));
  set(sampler.repetition_penalty, fields.number("repetition_penalty", 0.01, 10));
  if (const auto top_k = fields.integer("top_k", 0, INT32_MAX)) sampler.top_k = *top_k;
}

std::vector<std::string> read_stop(Fields& fields) {
  const Json* value = fields.any("stop");
  if (!value) return {};
  const std::string expected =
      "a string, or up to " + std::to_string(max_stops) + " of them, none of them empty";
  const Json list = value->is_array() ? *value : Json::array({*value});
  if (list.size() > max_stops) fields.fail("stop", expected);
  std::vector<std::string> stops;
  for (const Json& stop : list) {
    if (!stop.is_string() || stop.get_ref<const std::string&>().empty())
      fields.fail("stop", expected);
    stops.push_back(stop.get<std::string>());
  }
  return stops;
}

Constraint read_format(Fields& fields) {
  const Json* value = fields.any("response_format");
  if (!value) return {};
  Fields format(*value, "response_format");
  const auto type = format.choice("type", {"text", "json_object", "json_schema"});
  if (!type) format.fail("type", "\"text\", \"json_object\" or \"json_schema\"");
  const Json* described = format.any("json_schema");
  format.finish();
  if (*type == "text") return {};
  if (*type == "json_object") return Constraint::json_object();
  if (!described) format.fail("json_schema", "an object");
  Fields schema(*described, "response_format.json_schema");
  schema.ignore({"name", "description", "strict"});
  const Json* content = schema.any("schema");
  schema.finish();
  if (!content) schema.fail("schema", "an object");
  try {
    return Constraint::json_schema(dump(*content));
  } catch (const Error& error) {
    throw ApiError(400, schema.path("schema") + std::string(": ") + error.what(),
                   schema.path("schema"));
  }
}

bool read_include_usage(Fields& fields, bool stream) {
  const Json* value = fields.any("stream_options");
  if (!value) return false;
  if (!stream) fields.fail("stream_options", "nothing, as stream is not true");
  Fields options(*value, "stream_options");
  const bool include = options.boolean("include_usage").value_or(false);
  options.finish();
  return include;
}

}  // namespace

GenerationFields::GenerationFields(Fields& fields, const Model& model)
    : options(default_options(model)) {
  read_sampler(fields, options.sampler);
  const auto seed = fields.integer("seed", -max_seed, max_seed);
  options.sampler.seed = seed ? static_cast<uint64_t>(*seed) : random_seed();
  options.max_tokens = fields.integer("max_tokens", 1, INT32_MAX).value_or(INT32_MAX);
  options.stop = read_stop(fields);
  options.stop_at_end_tokens = !fields.boolean("ignore_eos").value_or(false);
  options.constraint = read_format(fields);
  choices = fields.integer("n", 1, max_choices).value_or(1);
  stream = fields.boolean("stream").value_or(false);
  include_usage = read_include_usage(fields, stream);
  fields.ignore(
      {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"});
  fields.unsupported("logit_bias", {Json::object()});
}

const char* finish_reason(StopReason reason) {
  switch (reason) {
    case StopReason::limit:
    case StopReason::context_full:
    case StopReason::deadline:
      return "length";
    default:
      return "stop";
  }
}

}  // namespace octet::serve

// Keys as in compressed-tensors 0.20, quantization/quant_config.py, quant_scheme.py, quant_args.py;
// who is meant by an entry as in its utils/match.py.
#include "lib/io/compressed_tensors.h"

#include <algorithm>

#include "lib/core/error.h"
#include "lib/io/json.h"
#include "lib/io/json_object.h"

namespace octet {
namespace {

constexpr size_t max_config_bytes = size_t{16} << 20;
/// Far above what real files hold. Each is tried on each module.
constexpr size_t max_patterns = 64;

/// A key whose value has to be this one.
template <class T>
void expect(const JsonObject& object, const char* key, const std::optional<T>& found,
            const T& wanted) {
  const auto text = [](const T& value) { return nlohmann::json(value).dump(); };
  require(found.has_value() && *found == wanted, ErrorCode::Unsupported, object.where(), ": ", key,
          " is ", found ? text(*found) : "not there", "; known is ", text(wanted));
}

void expect_text(const JsonObject& object, const char* key, const std::string& wanted) {
  expect(object, key, object.text(key), wanted);
}

/// What weights and activations have in common.
void expect_int8(const JsonObject& args, const std::string& strategy, bool dynamic) {
  expect(args, "num_bits", args.integer("num_bits"), int64_t{8});
  expect_text(args, "type", "int");
  expect(args, "symmetric", args.boolean("symmetric"), true);
  expect_text(args, "strategy", strategy);
  const nlohmann::json* found = args.find("dynamic");  // may also be "local"
  const bool is_dynamic = found && *found != nlohmann::json(false);
  require(is_dynamic == dynamic && (!found || found->is_boolean()), ErrorCode::Unsupported,
          args.where(), ": dynamic is ", found ? found->dump() : "not there", "; known is ",
          dynamic ? "true" : "false");
}

/// Keys that mean more than int8 weights where they hold anything.
void expect_absent(const JsonObject& object, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const nlohmann::json* found = object.find(key);
    require(!found || found->empty(), ErrorCode::Unsupported, object.where(), ": ", key, " is ",
            found ? found->dump().substr(0, 100) : "", "; known is null");
  }
}

JsonObject part(const JsonObject& group, const char* key) {
  const auto found = group.object(key);
  require(found.has_value(), ErrorCode::Unsupported, group.where(), ": ", key,
          " is not there; known are int8 weights with int8 activations");
  return *found;
}

std::vector<std::string> texts(const JsonObject& object, const char* key) {
  std::vector<std::string> values;
  const nlohmann::json* found = object.find(key);
  if (!found) return values;
  require(found->is_array(), ErrorCode::InvalidFile, object.where(), ": ", key,
          " is no list of names");
  for (const nlohmann::json& element : *found) {
    require(element.is_string(), ErrorCode::InvalidFile, object.where(), ": ", key, " holds ",
            element.dump().substr(0, 100), ", a name expected");
    values.push_back(element.get<std::string>());
  }
  return values;
}

void check_group(const JsonObject& group) {
  expect_int8(part(group, "weights"), "channel", false);
  expect_int8(part(group, "input_activations"), "token", true);
  expect_absent(group, {"output_activations"});
  if (group.has("format")) expect_text(group, "format", "int-quantized");
}

}  // namespace

void ModuleNames::add(const std::string& entry, const std::string& where) {
  if (!entry.starts_with("re:")) {
    names_.insert(entry);
    return;
  }
  require(patterns_.size() < max_patterns, ErrorCode::InvalidFile, where, ": more than ",
          max_patterns, " patterns");
  patterns_.emplace_back(std::string_view(entry).substr(3), where);
}

bool ModuleNames::contain_linear(std::string_view name) const {
  return names_.contains(name) || names_.contains("Linear") ||
         std::any_of(patterns_.begin(), patterns_.end(),
                     [&](const NamePattern& pattern) { return pattern.matches_start(name); });
}

std::optional<CompressedTensors> CompressedTensors::read(const std::string& directory) {
  const std::string path = directory + "/config.json";
  const nlohmann::json document = read_json(path, max_config_bytes);
  const JsonObject file(document, path);
  const auto config = file.object("quantization_config");
  if (!config) return std::nullopt;
  expect_text(*config, "quant_method", "compressed-tensors");
  expect_text(*config, "format", "int-quantized");
  expect_text(*config, "quantization_status", "compressed");
  expect_absent(*config, {"kv_cache_scheme", "transform_config", "moe_sparsity_config"});
  if (const auto sparsity = config->object("sparsity_config"); sparsity && sparsity->has("format"))
    expect_text(*sparsity, "format", "dense");

  CompressedTensors result;
  const JsonObject groups = config->required_object("config_groups");
  for (const auto& [name, value] : groups.value().items()) {
    const JsonObject group(value, str(groups.where(), ": ", name));
    check_group(group);
    for (const std::string& entry : texts(group, "targets"))
      result.targets_.add(entry, group.where() + ": targets");
  }
  for (const std::string& entry : texts(*config, "ignore"))
    result.ignored_.add(entry, config->where() + ": ignore");
  return result;
}

}  // namespace octet

#include "lib/export/hf_directory.h"

#include <algorithm>
#include <set>

#include "lib/core/error.h"
#include "lib/export/export_tensors.h"
#include "lib/export/hf_files.h"
#include "lib/io/atomic_directory.h"
#include "lib/io/safetensors.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;

/// The names of a matrix's linear and of the linears that vLLM multiplies as one with it, for which
/// it wants one scheme.
std::vector<std::string> fused_with(const std::string& weight) {
  const std::string linear = weight.substr(0, weight.rfind('.'));
  const std::string block = linear.substr(0, linear.rfind('.') + 1);
  const std::string kind = linear.substr(block.size());
  if (kind == "q_proj" || kind == "k_proj" || kind == "v_proj")
    return {block + "q_proj", block + "k_proj", block + "v_proj"};
  if (kind == "gate_proj" || kind == "up_proj") return {block + "gate_proj", block + "up_proj"};
  return {linear};
}

/// Linears in layers: those of these names stay int8. Neither embedding nor head: vLLM reads them
/// as float only.
std::set<std::string> kept_int8(const Checkpoint& checkpoint) {
  std::set<std::string> kept;
  for (const ModelTensor& tensor : model_tensors(checkpoint.config())) {
    if (!tensor.name.ends_with("_proj.weight")) continue;
    const std::vector<std::string> fused = fused_with(tensor.name);
    if (std::all_of(fused.begin(), fused.end(), [&](const std::string& linear) {
          return checkpoint.is_quantized(linear + ".weight");
        }))
      kept.insert(tensor.name);
  }
  return kept;
}

int64_t int8_linears(const Checkpoint& checkpoint) {
  int64_t count = 0;
  for (const ModelTensor& tensor : model_tensors(checkpoint.config()))
    count += tensor.name.ends_with("_proj.weight") && checkpoint.is_quantized(tensor.name);
  return count;
}

Json int8_args(const char* strategy, bool dynamic) {
  return {{"num_bits", 8},
          {"type", "int"},
          {"symmetric", true},
          {"strategy", strategy},
          {"dynamic", dynamic},
          {"group_size", nullptr},
          {"block_structure", nullptr},
          {"actorder", nullptr},
          {"observer", dynamic ? Json() : Json("minmax")},
          {"observer_kwargs", Json::object()}};
}

Json quantization_config(const ModelConfig& config, const std::set<std::string>& kept) {
  Json ignore = Json::array();
  for (const ModelTensor& tensor : model_tensors(config))
    if (tensor.name.ends_with("_proj.weight") && !kept.contains(tensor.name))
      ignore.push_back(tensor.name.substr(0, tensor.name.rfind('.')));
  ignore.push_back("lm_head");
  return {{"quant_method", "compressed-tensors"},
          {"format", "int-quantized"},
          {"quantization_status", "compressed"},
          {"config_groups",
           {{"group_0",
             {{"targets", Json::array({"Linear"})},
              {"weights", int8_args("channel", false)},
              {"input_activations", int8_args("token", true)},
              {"output_activations", nullptr}}}}},
          {"ignore", ignore},
          {"kv_cache_scheme", nullptr},
          {"global_compression_ratio", nullptr}};
}

std::vector<uint64_t> unsigned_shape(const std::vector<int64_t>& shape) {
  return {shape.begin(), shape.end()};
}

/// The file's tensors: wide types first, so that each begins on a multiple of its element's size
/// without a gap, which the format does not have.
struct Plan {
  std::vector<SafetensorsWriter::Plan> file;
  std::vector<ExportedTensor> tensors;
};

Plan plan_tensors(const ModelConfig& config, const Encoding& encoding,
                  const std::set<std::string>& kept) {
  Plan plan;
  for (const ModelTensor& tensor : model_tensors(config)) {
    const bool int8 = kept.contains(tensor.name);
    plan.tensors.push_back({tensor, int8 ? nullptr : &encoding});
    plan.file.push_back(
        {tensor.name, int8 ? "I8" : encoding.safetensors, unsigned_shape(tensor.shape)});
    if (int8)
      plan.file.push_back(
          {scale_name(tensor.name), "F32", {static_cast<uint64_t>(tensor.shape[0]), 1}});
  }
  std::stable_sort(plan.file.begin(), plan.file.end(), [](const auto& a, const auto& b) {
    return safetensors_element_bytes(a.dtype) > safetensors_element_bytes(b.dtype);
  });
  std::map<std::string, size_t> places;
  for (const auto& tensor : plan.file) places.emplace(tensor.name, places.size());
  for (ExportedTensor& exported : plan.tensors) {
    exported.index = places.at(exported.tensor.name);
    if (!exported.encoding) exported.scale_index = places.at(scale_name(exported.tensor.name));
  }
  return plan;
}

const char* torch_dtype(const Encoding& encoding) {
  return &encoding == &encode_f32 ? "float32" : &encoding == &encode_f16 ? "float16" : "bfloat16";
}

}  // namespace

void export_hf(const Checkpoint& checkpoint, const std::string& output, const Encoding& encoding,
               bool int8, ExportReport& report, ThreadPool& pool, Progress progress) {
  const ModelConfig& config = checkpoint.config();
  const std::set<std::string> kept = int8 ? kept_int8(checkpoint) : std::set<std::string>();
  require(!int8 || !kept.empty(), ErrorCode::InvalidArgument, checkpoint.path(),
          ": no linear of a layer is int8 with a scale a channel; `octet convert --scheme w8a8 "
          "--rotate folded` makes such a file");
  AtomicDirectory directory(output);
  const Json quantization = int8 ? quantization_config(config, kept) : Json();
  for (const auto& files : {hf_config_files(config, torch_dtype(encoding), quantization),
                            hf_tokenizer_files(checkpoint.text(), config)})
    for (const auto& [name, content] : files) directory.write(name, content);

  const Plan plan = plan_tensors(config, encoding, kept);
  SafetensorsWriter writer(directory.file("model.safetensors"), {{"format", "pt"}}, plan.file,
                           false);
  export_tensors(
      checkpoint, plan.tensors,
      [&](size_t index, uint64_t offset, std::span<const std::byte> bytes) {
        writer.write(index, offset, bytes);
      },
      pool, progress);
  report.output_bytes = writer.finish();
  report.tensors = static_cast<int64_t>(plan.file.size());
  report.int8_linears = static_cast<int64_t>(kept.size());
  if (const auto left = int8_linears(checkpoint) - report.int8_linears; int8 && left > 0)
    report.notes.push_back(str(left,
                               " int8 linears are multiplied out there: vLLM wants q, k, v "
                               "under one scheme, and gate, up"));
  directory.commit();
}

}  // namespace octet

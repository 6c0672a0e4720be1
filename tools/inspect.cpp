#include <octet/quant.h>

#include <cstdio>
#include <memory>

#include "common.h"

namespace octet::tools {
namespace {

struct InspectArguments : CommonOptions {
  std::string path;
};

Json config_json(const ModelConfig& config) {
  return {{"family", config.family},
          {"vocab_size", config.vocab_size},
          {"hidden_size", config.hidden_size},
          {"num_layers", config.num_layers},
          {"num_heads", config.num_heads},
          {"num_kv_heads", config.num_kv_heads},
          {"head_dim", config.head_dim},
          {"intermediate_size", config.intermediate_size},
          {"max_positions", config.max_positions},
          {"rms_norm_eps", config.rms_norm_eps},
          {"rope_theta", config.rope_theta},
          {"rope_scaling", config.rope_scaling.kind == RopeScaling::Kind::none     ? "none"
                           : config.rope_scaling.kind == RopeScaling::Kind::linear ? "linear"
                           : config.rope_scaling.kind == RopeScaling::Kind::yarn   ? "yarn"
                                                                                   : "dynamic"},
          {"tied_head", config.tied_head},
          {"qkv_bias", config.qkv_bias},
          {"qk_norm", config.qk_norm},
          {"bos_id", config.bos_id},
          {"eos_ids", config.eos_ids}};
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (int64_t extent : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

void print(const FileInfo& info) {
  std::printf("format     %s\n", info.format.c_str());
  if (!info.scheme.empty())
    std::printf("scheme     %s%s\n", info.scheme.c_str(), info.rotated ? ", rotated" : "");
  if (!info.other_schemes.empty())
    std::printf("others     %zu matrices, the first is %s, %s\n", info.other_schemes.size(),
                info.other_schemes.front().weight.c_str(),
                info.other_schemes.front().scheme.c_str());
  if (!info.two_planes.empty())
    std::printf("two planes %zu linears, the first is %s\n", info.two_planes.size(),
                info.two_planes.front().c_str());
  std::printf("size       %.1f MB in %zu tensors\n", static_cast<double>(info.file_bytes) / 1e6,
              info.tensors.size());
  std::printf("tokenizer  %s\ntemplate   %s\n", info.has_tokenizer ? "yes" : "no",
              info.has_chat_template ? "yes" : "no");
  const Json config = config_json(info.config);
  for (const auto& [key, value] : config.items())
    std::printf("%-18s %s\n", key.c_str(), value.dump().c_str());
  for (const TensorInfo& tensor : info.tensors)
    std::printf("%-6s %12llu bytes  %-24s %s\n", tensor.type.c_str(),
                static_cast<unsigned long long>(tensor.bytes), shape_text(tensor.shape).c_str(),
                tensor.name.c_str());
}

void run(const InspectArguments& arguments) {
  const FileInfo info = inspect(arguments.path);
  if (!arguments.json) return print(info);
  Json tensors = Json::array();
  for (const TensorInfo& tensor : info.tensors)
    tensors.push_back({{"name", tensor.name},
                       {"type", tensor.type},
                       {"shape", tensor.shape},
                       {"bytes", tensor.bytes}});
  Json schemes = Json::object();
  for (const auto& [weight, scheme] : info.other_schemes) schemes[weight] = scheme;
  print_json({{"format", info.format},
              {"scheme", info.scheme},
              {"other_schemes", schemes},
              {"rotated", info.rotated},
              {"two_planes", info.two_planes},
              {"bytes", info.file_bytes},
              {"tokenizer", info.has_tokenizer},
              {"chat_template", info.has_chat_template},
              {"config", config_json(info.config)},
              {"tensors", tensors}});
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto arguments = std::make_shared<InspectArguments>();
  CLI::App* command = app.add_subcommand("inspect", "config, scheme, tensors and sizes of a file");
  command->footer("Example: octet inspect r1.int8.safetensors");
  command->add_option("FILE", arguments->path, "a converted file or a checkpoint")->required();
  arguments->add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace octet::tools

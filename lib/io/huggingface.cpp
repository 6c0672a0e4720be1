#include "lib/io/huggingface.h"

#include <map>
#include <set>

#include "lib/core/error.h"
#include "lib/io/compressed_tensors.h"
#include "lib/io/file_kind.h"
#include "lib/io/hf_config.h"
#include "lib/io/json.h"
#include "lib/io/json_object.h"
#include "lib/io/mapped_checkpoint.h"
#include "lib/io/safetensors.h"

namespace octet {
namespace {

constexpr size_t max_json_bytes = size_t{16} << 20;

/// Shard file -> the tensors that the index expects in it.
using Index = std::map<std::string, std::set<std::string, std::less<>>>;

Index read_index(const std::string& path) {
  const nlohmann::json document = read_json(path, max_json_bytes);
  const JsonObject weight_map = JsonObject(document, path).required_object("weight_map");
  Index index;
  for (const auto& [tensor, value] : weight_map.value().items()) {
    const std::string shard = weight_map.required_text(tensor);
    // Only files of the directory itself: no path, no way out of it.
    const bool plain = !shard.empty() && shard != "." && shard != ".." &&
                       shard.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
    require(plain, ErrorCode::InvalidFile, path, ": tensor ", tensor, ": \"", shard,
            "\" is not the name of a file in this directory");
    index[shard].insert(tensor);
  }
  return index;
}

/// tokenizer_config.json's chat_template: a string, or a list of named ones.
std::string chat_template(const JsonObject& config) {
  const auto* found = config.find("chat_template");
  if (!found || !found->is_array()) return config.text("chat_template").value_or("");
  for (const auto& element : *found) {
    const JsonObject named(element, config.where() + ": chat_template");
    if (named.text("name") == "default") return named.required_text("template");
  }
  return "";
}

/// A special token: its text, or an object that holds it.
std::string special_token(const JsonObject& config, std::string_view key) {
  const auto* found = config.find(key);
  if (!found || !found->is_object()) return config.text(key).value_or("");
  return JsonObject(*found, str(config.where(), ": ", key)).required_text("content");
}

class HuggingFaceCheckpoint final : public MappedCheckpoint {
 public:
  explicit HuggingFaceCheckpoint(const std::string& path) {
    path_ = path;
    format_ = "safetensors";
    const bool whole_directory = file_kind(path) == FileKind::directory;
    const std::string directory = whole_directory ? path : folder_of(path);
    if (whole_directory) {
      add_directory(directory);
    } else {
      add_file(path, nullptr);
    }
    config_ = read_hf_config(directory);
    text_ = read_huggingface_text(directory);
    if (const auto quantization = CompressedTensors::read(directory)) {
      format_ = "safetensors, compressed-tensors int-quantized";
      add_scales(*quantization);
    }
  }

 private:
  void add_scales(const CompressedTensors& quantization) {
    for (const ModelTensor& tensor : model_tensors(config_)) {
      if (!is_linear(tensor.name)) continue;
      const std::string linear = tensor.name.substr(0, tensor.name.rfind('.'));
      if (!quantization.quantizes(linear)) continue;
      reject_more_than_scales(linear);
      add_scale(tensor.name, linear + ".weight_scale");
    }
    require(!config_.tied_head || !quantization.quantizes("lm_head"), ErrorCode::Unsupported, path_,
            ": quantization_config: lm_head is int8, but tied to the embedding; known is lm_head "
            "in `ignore`");
  }

  /// What asymmetric, static and grouped quantization bring.
  void reject_more_than_scales(const std::string& linear) const {
    for (const char* part : {"weight_zero_point", "weight_g_idx", "input_scale", "input_zero_point",
                             "output_scale", "output_zero_point"}) {
      require(!has(str(linear, ".", part)), ErrorCode::Unsupported, path_, ": tensor ", linear, ".",
              part, "; known are int8 weights with nothing but a weight_scale");
    }
  }

  void add_directory(const std::string& directory) {
    if (const std::string whole = directory + "/model.safetensors"; file_exists(whole)) {
      add_file(whole, nullptr);
      return;
    }
    const std::string index_path = directory + "/model.safetensors.index.json";
    require(file_exists(index_path), ErrorCode::InvalidFile, directory,
            ": holds neither model.safetensors nor model.safetensors.index.json");
    for (const auto& [shard, names] : read_index(index_path))
      add_file(directory + "/" + shard, &names);
  }

  /// names: the tensors to take, which have to be there; null: all.
  void add_file(const std::string& path, const std::set<std::string, std::less<>>* names) {
    const MappedFile& file = map(path);
    const Safetensors content = parse_safetensors(file.bytes(), path);
    require(!content.metadata.contains("octet.format"), ErrorCode::InvalidArgument, path,
            ": an octet file, which is a converted checkpoint already");
    size_t taken = 0;
    for (const SafetensorsEntry& entry : content.tensors) {
      if (names && !names->contains(entry.name)) continue;
      ++taken;
      std::vector<int64_t> shape;
      for (uint64_t extent : entry.shape) {
        require(extent <= INT64_MAX, ErrorCode::InvalidFile, path, ": tensor ", entry.name,
                ": a dimension of ", extent);
        shape.push_back(static_cast<int64_t>(extent));
      }
      MappedTensor stored;
      stored.file = &file;
      stored.type = find_weight_type(entry.dtype);
      stored.data = entry.data;
      add(entry.name, entry.dtype, shape, stored);
    }
    if (!names || taken == names->size()) return;
    for (const std::string& name : *names)
      require(find(name) != nullptr, ErrorCode::InvalidFile, path, ": tensor ", name,
              " is missing, the index expects it here");
  }
};

}  // namespace

CheckpointText read_huggingface_text(const std::string& directory) {
  CheckpointText text;
  if (file_exists(directory + "/tokenizer.json") || file_exists(directory + "/tokenizer.model"))
    text.tokenizer = read_tokenizer_source(directory);
  if (const std::string path = directory + "/tokenizer_config.json"; file_exists(path)) {
    const nlohmann::json document = read_json(path, max_json_bytes);
    const JsonObject config(document, path);
    text.chat_template = chat_template(config);
    text.bos_token = special_token(config, "bos_token");
    text.eos_token = special_token(config, "eos_token");
  }
  // transformers, too, prefers the file.
  if (const std::string path = directory + "/chat_template.jinja"; file_exists(path))
    text.chat_template = read_file(path, max_json_bytes);
  return text;
}

std::unique_ptr<Checkpoint> open_huggingface(const std::string& path) {
  return std::make_unique<HuggingFaceCheckpoint>(path);
}

}  // namespace octet

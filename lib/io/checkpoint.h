#pragma once
// A checkpoint, whatever its format: named tensors under Hugging Face's names, and its config.
#include <octet/model.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/io/tokenizer_source.h"

namespace octet {

/// What a checkpoint brings for text.
struct CheckpointText {
  std::optional<TokenizerSource> tokenizer;  ///< empty: it has none
  std::string chat_template;                 ///< Jinja source; empty: none
  std::string bos_token;                     ///< literal text, for the template; empty: none
  std::string eos_token;
};

/// Everything for text of a Hugging Face directory, a file in one, or a .gguf file, without looking
/// at the weights. Errors: Io, InvalidFile, Unsupported.
CheckpointText read_checkpoint_text(const std::string& path);

/// One tensor as it is stored, under its Hugging Face name.
struct CheckpointTensor {
  std::string name;
  std::string type;            ///< "F32", "BF16", "Q4_K", ...
  std::vector<int64_t> shape;  ///< rows first
  uint64_t bytes = 0;
};

class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  const std::string& path() const { return path_; }
  /// "safetensors", "gguf 3".
  const std::string& format() const { return format_; }
  const ModelConfig& config() const { return config_; }
  const CheckpointText& text() const { return text_; }
  /// Every tensor, in the file's order. Names that octet does not use are listed as they stand.
  const std::vector<CheckpointTensor>& tensors() const { return tensors_; }

  /// Null if there is no such tensor.
  const CheckpointTensor* find(std::string_view name) const;

  /// Rows [begin, end) of a tensor of rank 2 (a rank 1 tensor is one row) as fp32, row-major.
  /// Thread-safe. Lets the pages that it read go again, so that a file larger than memory streams
  /// through. Errors: InvalidFile if the tensor is missing; Internal for rows out of range.
  virtual void read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const = 0;

  /// Whether a matrix is stored as int8 with a scale a row, the form of the scheme w8a8.
  /// read_rows() multiplies it out.
  virtual bool is_quantized(std::string_view) const { return false; }
  /// Rows [begin, end) of such a matrix as they are stored: q in [-128, 127], and their scales.
  /// Thread-safe. Errors: as read_rows().
  virtual void read_quantized_rows(std::string_view name, int64_t begin, int64_t end, int8_t* q,
                                   float* scale) const;

 protected:
  std::string path_;
  std::string format_;
  ModelConfig config_;
  CheckpointText text_;
  std::vector<CheckpointTensor> tensors_;
};

/// path: a Hugging Face directory, one .safetensors file with a config.json beside it, or a
/// .gguf file. Every tensor that the config asks for (model_tensors()) is there with the right
/// shape and a type that octet reads, so that whoever uses the result can rely on it.
/// Errors: Io, InvalidFile, Unsupported (naming what was found and what is known).
std::unique_ptr<Checkpoint> open_checkpoint(const std::string& path);

/// Name and shape of every tensor that a model of this config has, in the order in which a
/// forward pass uses them; lm_head.weight only if the head is not tied.
struct ModelTensor {
  std::string name;
  std::vector<int64_t> shape;
};
std::vector<ModelTensor> model_tensors(const ModelConfig& config);
/// Whether the tensor of this name is the weight of a linear of a layer, or of the head.
bool is_linear(std::string_view name);
/// Those of one layer.
std::vector<ModelTensor> layer_tensors(const ModelConfig& config, int64_t layer);

/// Checks that a config describes a decoder that octet can run: positive sizes, heads divisible
/// by kv heads, even head_dim, products that do not overflow. `where` names the file.
/// Errors: InvalidFile, Unsupported.
void check_config(const ModelConfig& config, const std::string& where);

/// A ModelConfig as JSON text, for the converted file, and back. Errors: InvalidFile.
std::string config_to_json(const ModelConfig& config);
ModelConfig config_from_json(std::string_view json, const std::string& where);

}  // namespace octet

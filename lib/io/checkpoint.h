#pragma once
// A checkpoint, whatever its format: named tensors under Hugging Face's names, and its config.
#include <octet/model.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace octet {

/// Everything a checkpoint brings besides weights.
struct CheckpointText {
  std::optional<Tokenizer> tokenizer;
  std::string chat_template;  ///< Jinja source; empty: none
  std::string bos_token;      ///< literal text, for the template; empty: none
  std::string eos_token;
};

class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  const ModelConfig& config() const { return config_; }
  const std::string& path() const { return path_; }

  /// Tokenizer and chat template; empty where the checkpoint has none. Errors: as Tokenizer::open.
  virtual CheckpointText text() const = 0;

  virtual bool contains(std::string_view name) const = 0;
  /// Rows first. Errors: InvalidFile, naming file and tensor, if the tensor is missing.
  virtual std::vector<int64_t> shape(std::string_view name) const = 0;

  /// Rows [begin, end) of a tensor of rank 1 (taken as one row) or 2, as fp32, row-major.
  /// Thread-safe. Reads each weight's pages once and lets them go, so that a file larger than
  /// memory streams through.
  virtual void read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const = 0;

  /// Shape check for every caller. Errors: InvalidFile with both shapes.
  void require_shape(std::string_view name, const std::vector<int64_t>& expected) const;

 protected:
  ModelConfig config_;
  std::string path_;
};

/// path: a Hugging Face directory, one .safetensors file with a config.json beside it, or a
/// .gguf file. Checks that every tensor the config asks for is there with the right shape and a
/// known type, so that whoever loads it can rely on that.
/// Errors: Io, InvalidFile, Unsupported (naming what was found and what is known).
std::unique_ptr<Checkpoint> open_checkpoint(const std::string& path);

}  // namespace octet

#pragma once
#include <octet/export.h>
#include <octet/model.h>

#include <cstdint>
#include <string>
#include <vector>

namespace OCTET_EXPORT octet {

/// Text that the conversion to an int8 scheme runs the model on, to round each weight by what the
/// others' errors do to its linear's output (docs/quantization.md).
enum class Calibrate {
  builtin,  ///< a small text that comes with octet; off if the checkpoint has no tokenizer
  text,     ///< ConvertOptions::calibration_text
  off,      ///< round to nearest
};

inline constexpr const char* automatic_mixed = "auto";

/// A LoRA adapter to be merged, as Adapter::load takes it.
struct AdapterSource {
  std::string directory;
  double scale = 1;
};

struct ConvertOptions {
  Scheme scheme = Scheme::w8a8;
  Rotation rotation = Rotation::automatic;
  /// As in ModelOptions; or "auto": as few linears more than one int8 plane as the budget allows,
  /// chosen by what each of them costs on a part of the calibration text that is not calibrated
  /// with (docs/quantization.md). Without calibration "auto" is default_mixed.
  std::string mixed = automatic_mixed;
  double budget = 0.0015;  ///< of "auto": the mean KL divergence from the float model, in nats
  Calibrate calibration = Calibrate::builtin;
  std::string calibration_text = "";         ///< UTF-8; its first 8,192 tokens are used
  std::vector<AdapterSource> adapters = {};  ///< added to the weights before anything else
  int threads = 0;                           ///< 0: one for each core this process may use
};

/// What "auto" measured and chose.
struct MixedReport {
  int64_t tokens = 0;       ///< positions that were compared with the float model; 0: no search
  double kl_one_plane = 0;  ///< mean KL with every linear in one int8 plane, the embedding float
  double kl_expected = 0;   ///< of what was chosen, by the sensitivities
  double kl = 0;            ///< of the file written
  double kl_error = 0;      ///< standard error of kl
  double perplexity_ratio = 1;  ///< of the file written to the float model
  double one_plane_share = 1;   ///< of the linears' multiplications: still in one int8 plane
  /// Every linear, the most sensitive first.
  struct LinearChoice {
    std::string weight;
    std::string kind;    ///< "q", "k", "v", "o", "gate", "up", "down", "head"
    int64_t layer = -1;  ///< -1: in none
    std::string form;    ///< "w8a8", "w8a8-g128" (the scheme), "two planes", "f16"
    double kl = 0;       ///< estimate of the KL when it alone is int8, in one plane
    double kl_left = 0;  ///< the same in the form chosen
  };
  std::vector<LinearChoice> linears;
};

struct ConvertReport {
  int64_t tensors = 0;
  int64_t input_weights = 0;       ///< numbers read
  int64_t calibration_tokens = 0;  ///< 0: rounded to nearest
  uint64_t output_bytes = 0;       ///< size of the file written
  double seconds = 0;
  MixedReport mixed;
};

/// Reads a checkpoint (a Hugging Face directory, a .safetensors file, a .gguf) and writes it as
/// one octet file: temporary name, flush, rename, so that `output` is whole or not there.
/// A compressed-tensors checkpoint (int8 weights with a scale a channel) keeps its int8 values and
/// scales in scheme w8a8, is neither rotated nor calibrated nor mixed, and what it has in float
/// stays float.
/// Tensors stream through: memory stays near that of one or two matrices; with calibration, near
/// one layer in fp32, its moments (4 k^2 bytes for k inputs), and the residual stream of all
/// tokens; with "auto" the int8 model besides. Errors: as Model::open; InvalidArgument for a
/// calibration text that is not UTF-8, shorter than two tokens, or without a tokenizer; Cancelled
/// if progress says so.
ConvertReport convert(const std::string& source, const std::string& output,
                      const ConvertOptions& options = {}, Progress progress = {});

/// One tensor of a file, as inspect() lists it.
struct TensorInfo {
  std::string name;
  std::string type;  ///< "F32", "I8", "Q4_K", ...
  std::vector<int64_t> shape;
  uint64_t bytes = 0;
};

struct FileInfo {
  std::string format;  ///< "octet 1", "octet 2", "octet 3", "safetensors", "gguf 3"
  std::string scheme;  ///< empty for a checkpoint
  /// Matrices of another scheme than that.
  struct OtherScheme {
    std::string weight, scheme;
  };
  std::vector<OtherScheme> other_schemes;
  bool rotated = false;
  std::vector<std::string> two_planes;  ///< weights of the linears whose inputs take two planes
  ModelConfig config;
  std::vector<TensorInfo> tensors;
  uint64_t file_bytes = 0;
  bool has_tokenizer = false;
  bool has_chat_template = false;
};

/// What is in a converted file or a checkpoint. Errors: Io, InvalidFile, Unsupported.
FileInfo inspect(const std::string& path);

}  // namespace octet

#pragma once
#include <octet/export.h>
#include <octet/model.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace OCTET_EXPORT octet {

/// What other programs read (docs/formats.md).
enum class ExportFormat {
  /// A directory with int8 weights as Hugging Face's compressed-tensors and vLLM read W8A8
  /// ("int-quantized"): every int8 value and scale of the layers' linears is kept. The embedding
  /// and the head are float there.
  compressed_tensors,
  hf,    ///< a directory with float weights, for Hugging Face's transformers
  gguf,  ///< a file for llama.cpp
};

/// How float weights are written.
enum class ExportType {
  automatic,  ///< f32 with compressed_tensors, bf16 with hf, q8_0 with gguf
  f32,        ///< compressed_tensors, hf
  f16,
  bf16,  ///< compressed_tensors, hf
  q8_0,  ///< gguf: int8 with a scale 32 values
};

/// "compressed-tensors", "hf", "gguf". Errors: InvalidArgument, naming these.
ExportFormat parse_export_format(std::string_view name);
/// "auto", "f32", "f16", "bf16", "q8_0". Errors: InvalidArgument, naming these.
ExportType parse_export_type(std::string_view name);

struct ExportOptions {
  ExportFormat format = ExportFormat::compressed_tensors;
  ExportType type = ExportType::automatic;
  int threads = 0;  ///< 0: one for each core this process may use
};

struct ExportReport {
  int64_t tensors = 0;
  int64_t int8_linears = 0;        ///< written with their int8 values and scales
  uint64_t output_bytes = 0;       ///< of the weights' file
  std::vector<std::string> notes;  ///< what the format cannot say, a sentence each
  double seconds = 0;
};

/// Writes a model for other programs. source: a converted file, or any checkpoint that convert()
/// takes (for compressed_tensors one that is int8 already). output: a new directory, or for gguf a
/// file; it is whole or not there.
/// Rotations of a converted file stay in its weights, which are the same function; what is done to
/// down_proj's input at run time (R4) is undone in float weights.
/// Tensors stream through: memory is some 10 MB.
/// Errors: as Model::open; Io; InvalidArgument for a type that the format does not have, or a
/// source without int8 weights; Unsupported for what the format cannot express: R4 or w8a8-g128 in
/// compressed_tensors (the message names what to convert with), a dynamic RoPE scaling or an
/// unknown pre-tokenizer in gguf; Cancelled.
ExportReport export_model(const std::string& source, const std::string& output,
                          const ExportOptions& options = {}, Progress progress = {});

}  // namespace octet

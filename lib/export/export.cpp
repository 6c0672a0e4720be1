#include <octet/export_model.h>

#include <array>
#include <chrono>

#include "lib/core/error.h"
#include "lib/export/gguf_file.h"
#include "lib/export/hf_directory.h"
#include "lib/export/octet_checkpoint.h"
#include "lib/model/model_impl.h"
#include "lib/model/octet_file.h"

namespace octet {
namespace {

constexpr std::array<std::pair<const char*, ExportFormat>, 3> format_names = {
    {{"compressed-tensors", ExportFormat::compressed_tensors},
     {"hf", ExportFormat::hf},
     {"gguf", ExportFormat::gguf}}};

constexpr std::array<std::pair<const char*, ExportType>, 5> type_names = {
    {{"auto", ExportType::automatic},
     {"f32", ExportType::f32},
     {"f16", ExportType::f16},
     {"bf16", ExportType::bf16},
     {"q8_0", ExportType::q8_0}}};

const Encoding& encoding_of(const ExportOptions& options) {
  const bool gguf = options.format == ExportFormat::gguf;
  switch (options.type) {
    case ExportType::automatic:
      return gguf ? encode_q8_0 : options.format == ExportFormat::hf ? encode_bf16 : encode_f32;
    case ExportType::f16:
      return encode_f16;
    case ExportType::q8_0:
      require(gguf, ErrorCode::InvalidArgument,
              "type q8_0: a type of gguf; f32, f16 or bf16 expected");
      return encode_q8_0;
    case ExportType::f32:
    case ExportType::bf16:
      break;
  }
  require(!gguf, ErrorCode::InvalidArgument, "format gguf: type q8_0 or f16 expected");
  return options.type == ExportType::f32 ? encode_f32 : encode_bf16;
}

/// What of a converted file has no place in the format. Errors: Unsupported where leaving it out
/// would make it another model.
void compare(const OctetHeader& header, const std::string& path, ExportFormat format,
             ExportReport& report) {
  if (format != ExportFormat::compressed_tensors) return;
  require(header.schemes.model != Scheme::w8a8_g128, ErrorCode::Unsupported, path,
          ": scheme w8a8-g128, but int-quantized has no scales of groups; convert with --scheme "
          "w8a8 --rotate folded");
  require(header.rotation.down == 1 && header.rotation.norm == 1, ErrorCode::Unsupported, path,
          ": inputs of linears are to be rotated at run time, which compressed-tensors cannot say; "
          "convert with --rotate folded");
  if (is_int8(header.schemes.of("model.embed_tokens.weight")))
    report.notes.push_back(
        "embedding and head are float there: vLLM reads no others; the head's input is not "
        "rounded");
  if (!header.two_planes.empty())
    report.notes.push_back(str("the inputs of ", header.two_planes.size(),
                               " linears take two int8 planes here, one there"));
}

}  // namespace

ExportFormat parse_export_format(std::string_view name) {
  for (const auto& [known, format] : format_names)
    if (name == known) return format;
  fail(ErrorCode::InvalidArgument, "format '", name, "': known are compressed-tensors, hf, gguf");
}

ExportType parse_export_type(std::string_view name) {
  for (const auto& [known, type] : type_names)
    if (name == known) return type;
  fail(ErrorCode::InvalidArgument, "type '", name, "': known are auto, f32, f16, bf16, q8_0");
}

ExportReport export_model(const std::string& source, const std::string& output,
                          const ExportOptions& options, Progress progress) {
  const auto start = std::chrono::steady_clock::now();
  const Encoding& encoding = encoding_of(options);
  ExportReport report;
  std::unique_ptr<Checkpoint> checkpoint;
  if (auto file = OctetFile::open(source)) {
    compare(file->header(), source, options.format, report);
    checkpoint = octet_checkpoint(std::move(file));
  } else {
    checkpoint = open_checkpoint(source);
  }
  ThreadPool pool(thread_count(options.threads));
  if (options.format == ExportFormat::gguf)
    export_gguf(*checkpoint, output, encoding, report, pool, progress);
  else
    export_hf(*checkpoint, output, encoding, options.format == ExportFormat::compressed_tensors,
              report, pool, progress);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace octet

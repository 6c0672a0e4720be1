// Checkpoint to octet file, and checkpoint to model: the same steps into another sink.
#include <octet/quant.h>

#include <chrono>

#include "lib/convert/calibration.h"
#include "lib/convert/memory_store.h"
#include "lib/convert/random_checkpoint.h"
#include "lib/convert/rotated_checkpoint.h"
#include "lib/convert/write_tensors.h"
#include "lib/core/cpu.h"
#include "lib/core/error.h"
#include "lib/model/octet_file.h"
#include "lib/text/tokenizer_impl.h"

namespace octet {
namespace {

ModelText text_of(const Checkpoint& checkpoint) {
  const CheckpointText& text = checkpoint.text();
  ModelText result{std::nullopt, text.chat_template, text.bos_token, text.eos_token};
  if (text.tokenizer) result.tokenizer = make_tokenizer(*text.tokenizer);
  return result;
}

/// A checkpoint as it is to be stored.
struct Source {
  std::unique_ptr<Checkpoint> checkpoint;
  RotationSizes rotation;
  ScaledCheckpoint* scaled = nullptr;  ///< the checkpoint, if calibration is to scale it
};

Source rotate_if(Rotation rotation, Scheme scheme, bool calibrated,
                 std::unique_ptr<Checkpoint> checkpoint) {
  if (rotation == Rotation::off || (rotation == Rotation::automatic && !is_int8(scheme)))
    return {std::move(checkpoint), {}};
  if (rotation == Rotation::automatic && calibrated) {
    auto scaled = std::make_unique<ScaledCheckpoint>(std::move(checkpoint));
    ScaledCheckpoint* const view = scaled.get();
    return {std::move(scaled), view->sizes(), view};
  }
  const RotationSizes sizes = rotation_sizes(checkpoint->config());
  return {rotated_checkpoint(std::move(checkpoint)), sizes};
}

Calibration make_calibration(const Source& source, std::vector<std::vector<int32_t>> windows,
                             ThreadPool& pool) {
  if (source.scaled) return Calibration(*source.scaled, std::move(windows), pool);
  return Calibration(*source.checkpoint, source.rotation, std::move(windows), pool);
}

/// Every tensor of a checkpoint into the sink, in the scheme's form. windows: token ids to
/// calibrate with; none: weights are rounded to nearest. Returns the number of weights.
int64_t write_model(const Source& source, Scheme scheme, std::vector<std::vector<int32_t>> windows,
                    TensorSink& sink, ThreadPool& pool, Progress progress) {
  const Checkpoint& checkpoint = *source.checkpoint;
  const ModelConfig& config = checkpoint.config();
  const std::vector<ModelTensor> all = model_tensors(config);
  WeightCounter counter(progress, all);
  TensorWriter writer(checkpoint, all, scheme, sink, pool);
  if (windows.empty()) {
    writer.write(all, {}, &counter);
    return counter.total();
  }
  Calibration calibration = make_calibration(source, std::move(windows), pool);
  writer.write(std::span(all).first(1), {}, &counter);  // the embedding
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const Feedbacks feedbacks = calibration.layer(layer);
    writer.write(layer_tensors(config, layer), feedbacks, &counter);
  }
  const auto rest = 1 + layer_tensors(config, 0).size() * static_cast<size_t>(config.num_layers);
  const Feedbacks feedbacks = calibration.head();
  writer.write(std::span(all).subspan(rest), feedbacks, &counter);
  return counter.total();
}

Model quantize_in_memory(std::unique_ptr<Checkpoint> original, const ModelOptions& options,
                         Progress progress) {
  const Source source = rotate_if(options.rotation, options.scheme, false, std::move(original));
  const ModelConfig& config = source.checkpoint->config();
  const TwoPlanes mixed = two_planes(config, options.scheme, options.mixed);
  auto store = std::make_unique<MemoryStore>(stored_tensors(model_tensors(config), options.scheme));
  write_model(source, options.scheme, {}, *store, *make_pool(options), progress);
  return make_model(config, options.scheme, source.rotation, mixed, text_of(*source.checkpoint),
                    std::move(store), options, progress);
}

/// The text to calibrate with, as windows of ids; none where calibration is off, or the checkpoint
/// has no tokenizer and no text was asked for.
std::vector<std::vector<int32_t>> windows_for(const ConvertOptions& options,
                                              const std::optional<Tokenizer>& tokenizer) {
  const bool asked = options.calibration == Calibrate::text;
  if (!is_int8(options.scheme) || options.calibration == Calibrate::off) return {};
  require(tokenizer || !asked, ErrorCode::InvalidArgument,
          "calibration: the checkpoint has no tokenizer for the text");
  if (!tokenizer) return {};
  return calibration_windows(asked ? options.calibration_text : calibration_text(), *tokenizer);
}

}  // namespace

Model Model::open(const std::string& path, const ModelOptions& options, Progress progress) {
  if (std::unique_ptr<OctetFile> file = OctetFile::open(path)) {
    const OctetHeader header = file->header();
    ModelText text{file->tokenizer(), header.chat_template, header.bos_token, header.eos_token};
    return make_model(header.config, header.schemes, header.rotation, header.two_planes,
                      std::move(text), std::move(file), options, progress);
  }
  return quantize_in_memory(open_checkpoint(path), options, progress);
}

Model Model::random(std::string_view shape, const ModelOptions& options, Progress progress) {
  return quantize_in_memory(random_checkpoint(shape), options, progress);
}

ConvertReport convert(const std::string& source, const std::string& output,
                      const ConvertOptions& options, Progress progress) {
  const auto start = std::chrono::steady_clock::now();
  require(!OctetFile::open(source), ErrorCode::InvalidArgument, source,
          ": is a converted octet file already; give the checkpoint it was made from");
  std::unique_ptr<Checkpoint> original = open_checkpoint(source);
  const ModelText text = text_of(*original);
  auto windows = windows_for(options, text.tokenizer);
  const Source prepared =
      rotate_if(options.rotation, options.scheme, !windows.empty(), std::move(original));
  const ModelConfig& config = prepared.checkpoint->config();
  const std::vector<StoredTensor> plan = stored_tensors(model_tensors(config), options.scheme);
  const TwoPlanes mixed = two_planes(config, options.scheme, options.mixed);
  OctetWriter writer(output,
                     {config, options.scheme, prepared.rotation, mixed, text.chat_template,
                      text.bos_token, text.eos_token},
                     plan, text.tokenizer);
  ThreadPool pool(thread_count(options.threads));

  ConvertReport report;
  for (const std::vector<int32_t>& window : windows)
    report.calibration_tokens += static_cast<int64_t>(window.size());
  report.input_weights =
      write_model(prepared, options.scheme, std::move(windows), writer, pool, progress);
  report.output_bytes = writer.finish();
  report.tensors = static_cast<int64_t>(plan.size());
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace octet

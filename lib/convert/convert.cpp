// Checkpoint to octet file, and checkpoint to model: the same steps into another sink.
#include <octet/quant.h>

#include <chrono>
#include <cmath>
#include <optional>
#include <utility>

#include "lib/convert/assignment.h"
#include "lib/convert/calibration.h"
#include "lib/convert/lora_checkpoint.h"
#include "lib/convert/mixed_report.h"
#include "lib/convert/random_checkpoint.h"
#include "lib/convert/rotated_checkpoint.h"
#include "lib/convert/sensitivity.h"
#include "lib/convert/variants.h"
#include "lib/convert/write_tensors.h"
#include "lib/core/cpu.h"
#include "lib/core/error.h"
#include "lib/io/atomic_file.h"
#include "lib/model/folded_columns.h"
#include "lib/model/memory_store.h"
#include "lib/model/octet_file.h"
#include "lib/model/two_planes.h"
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
  Schemes schemes;
  RotationSizes rotation = {};
  TwoPlanes two_planes = {};
  ScaledCheckpoint* scaled = nullptr;  ///< the checkpoint, if calibration is to scale it
};

bool any_quantized(const Checkpoint& checkpoint) {
  for (const ModelTensor& tensor : model_tensors(checkpoint.config()))
    if (checkpoint.is_quantized(tensor.name)) return true;
  return false;
}

/// A checkpoint whose linears are int8 already: they stay as they are, the others stay float.
Source take_quantized(std::unique_ptr<Checkpoint> checkpoint, Scheme scheme, Rotation rotation) {
  const std::string& path = checkpoint->path();
  require(scheme == Scheme::w8a8, ErrorCode::Unsupported, path, ": scheme ", to_string(scheme),
          ", but the checkpoint holds int8 weights with a scale a channel: w8a8 expected, or f16 "
          "or f32");
  require(rotation == Rotation::automatic || rotation == Rotation::off, ErrorCode::InvalidArgument,
          path, ": rotation ", to_string(rotation),
          ", but the checkpoint's int8 weights cannot be rotated");
  Schemes schemes(scheme);
  for (const ModelTensor& tensor : model_tensors(checkpoint->config())) {
    if (tensor.shape.size() != 2 || checkpoint->is_quantized(tensor.name)) continue;
    const bool wide = checkpoint->find(tensor.name)->type == "F32";
    schemes.others[tensor.name] = wide ? Scheme::f32 : Scheme::f16;
  }
  return {std::move(checkpoint), std::move(schemes)};
}

/// calibrated: there are tokens to calibrate with.
Source prepare(std::unique_ptr<Checkpoint> checkpoint, Scheme scheme, Rotation rotation,
               std::string_view mixed, bool calibrated) {
  TwoPlanes planes = two_planes(checkpoint->config(), scheme, mixed);
  if (is_int8(scheme) && any_quantized(*checkpoint))
    return take_quantized(std::move(checkpoint), scheme, rotation);
  if (rotation == Rotation::off || (rotation == Rotation::automatic && !is_int8(scheme)))
    return {std::move(checkpoint), scheme, {}, std::move(planes)};
  if (rotation == Rotation::automatic && calibrated) {
    auto scaled = std::make_unique<ScaledCheckpoint>(std::move(checkpoint));
    ScaledCheckpoint* const view = scaled.get();
    return {std::move(scaled), scheme, view->sizes(), std::move(planes), view};
  }
  RotationSizes sizes = rotation_sizes(checkpoint->config());
  if (rotation == Rotation::folded) sizes.down = 1;
  return {rotated_checkpoint(std::move(checkpoint), sizes), scheme, sizes, std::move(planes)};
}

/// What is stored: the model's tensors, and what adapters need.
std::vector<ModelTensor> planned_tensors(const Source& source) {
  const ModelConfig& config = source.checkpoint->config();
  std::vector<ModelTensor> tensors = model_tensors(config);
  for (ModelTensor& tensor : folded_columns(config, source.rotation))
    tensors.push_back(std::move(tensor));
  return tensors;
}

Calibration make_calibration(const Source& source, std::vector<std::vector<int32_t>> windows,
                             ThreadPool& pool) {
  if (source.scaled) return Calibration(*source.scaled, std::move(windows), pool);
  return Calibration(*source.checkpoint, source.rotation, std::move(windows), pool);
}

/// Every tensor of a checkpoint into the writer, a TensorWriter or Variants. windows: token ids to
/// calibrate with; none: weights are rounded to nearest. run: null, or what runs along with it.
/// Returns the number of weights.
template <class Writer>
int64_t write_model(const Source& source, std::vector<std::vector<int32_t>> windows, Writer& writer,
                    SensitivityRun* run, ThreadPool& pool, Progress progress) {
  const ModelConfig& config = source.checkpoint->config();
  const std::vector<ModelTensor> all = planned_tensors(source);
  WeightCounter counter(progress, all);
  if (windows.empty()) {
    writer.write(all, {}, &counter);
    return counter.total();
  }
  Calibration calibration = make_calibration(source, std::move(windows), pool);
  writer.write(std::span(all).first(1), {}, &counter);  // the embedding
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const Feedbacks feedbacks = calibration.layer(layer);
    writer.write(layer_tensors(config, layer), feedbacks, &counter);
    if (run) run->layer(layer);
  }
  const auto rest = 1 + layer_tensors(config, 0).size() * static_cast<size_t>(config.num_layers);
  const Feedbacks feedbacks = calibration.head();
  writer.write(std::span(all).subspan(rest), feedbacks, &counter);
  return counter.total();
}

Model quantize_in_memory(std::unique_ptr<Checkpoint> original, const ModelOptions& options,
                         Progress progress) {
  const Source source =
      prepare(std::move(original), options.scheme, options.rotation, options.mixed, false);
  const ModelConfig& config = source.checkpoint->config();
  const std::vector<ModelTensor> all = planned_tensors(source);
  auto store = std::make_unique<MemoryStore>(stored_tensors(all, source.schemes));
  const std::unique_ptr<ThreadPool> pool = make_pool(options);
  TensorWriter writer(*source.checkpoint, all, source.schemes, *store, *pool);
  write_model(source, {}, writer, nullptr, *pool, progress);
  return make_model(config, source.schemes, source.rotation, source.two_planes,
                    text_of(*source.checkpoint), std::move(store), options, progress);
}

/// The text to calibrate with, as windows of ids; none where calibration is off, or nothing was
/// asked for and the checkpoint has no tokenizer or is quantized already.
std::vector<std::vector<int32_t>> windows_for(const ConvertOptions& options,
                                              const Checkpoint& checkpoint,
                                              const std::optional<Tokenizer>& tokenizer) {
  const bool asked = options.calibration == Calibrate::text;
  const bool quantized = is_int8(options.scheme) && any_quantized(checkpoint);
  require(!asked || !quantized, ErrorCode::InvalidArgument, checkpoint.path(),
          ": calibration: the checkpoint's weights are int8 already");
  if (quantized) return {};
  if (!is_int8(options.scheme) || options.calibration == Calibrate::off) return {};
  require(tokenizer || !asked, ErrorCode::InvalidArgument,
          "calibration: the checkpoint has no tokenizer for the text");
  if (!tokenizer) return {};
  return calibration_windows(asked ? options.calibration_text : calibration_text(), *tokenizer,
                             checkpoint.config());
}

/// The checkpoint with the adapters of the options merged into it.
std::unique_ptr<Checkpoint> open_merged(const std::string& source, const ConvertOptions& options) {
  std::unique_ptr<Checkpoint> checkpoint = open_checkpoint(source);
  if (options.adapters.empty()) return checkpoint;
  require(!any_quantized(*checkpoint), ErrorCode::InvalidArgument, source,
          ": its weights are int8 already, no adapter can be merged into them; use the adapter "
          "beside them, at run time");
  std::vector<ScaledAdapter> adapters;
  for (const AdapterSource& adapter : options.adapters) {
    require(std::isfinite(adapter.scale), ErrorCode::InvalidArgument, adapter.directory,
            ": adapter scale ", adapter.scale, ", a finite number expected");
    adapters.push_back({PeftAdapter(adapter.directory, checkpoint->config()), adapter.scale});
  }
  return lora_checkpoint(std::move(checkpoint), std::move(adapters));
}

/// One conversion: from an opened source to a file.
struct Conversion {
  Source source;
  ModelText text;
  const std::string& output;
  ThreadPool& pool;
  Progress progress;

  /// Between long steps after the last weight. Errors: Cancelled.
  void check_cancelled(int64_t weights) const {
    require(!progress.call || progress.call(progress.context, weights, weights),
            ErrorCode::Cancelled, "cancelled after all of ", weights, " weights");
  }
  /// The matrices and vectors; and, behind them, what their inputs are scaled by.
  OctetWriter writer(std::vector<StoredTensor> plan) const {
    if (source.scaled)
      for (StoredTensor& tensor : input_scale_tensors(source.checkpoint->config()))
        plan.push_back(std::move(tensor));
    return OctetWriter(output,
                       {source.checkpoint->config(), source.schemes, source.rotation,
                        source.two_planes, text.chat_template, text.bos_token, text.eos_token},
                       plan, text.tokenizer);
  }
  void finish(OctetWriter& writer, const std::vector<StoredTensor>& plan,
              ConvertReport& report) const {
    if (source.scaled) source.scaled->write_scales(writer, plan.size());
    report.output_bytes = writer.finish();
    report.tensors = static_cast<int64_t>(plan.size());
  }
};

void convert_plainly(const Conversion& conversion, std::vector<std::vector<int32_t>> windows,
                     ConvertReport& report) {
  const Source& source = conversion.source;
  const std::vector<ModelTensor> all = planned_tensors(source);
  const std::vector<StoredTensor> plan = stored_tensors(all, source.schemes);
  OctetWriter file = conversion.writer(plan);
  TensorWriter writer(*source.checkpoint, all, source.schemes, file, conversion.pool);
  report.input_weights = write_model(source, std::move(windows), writer, nullptr, conversion.pool,
                                     conversion.progress);
  conversion.finish(file, plan, report);
}

/// The measured KL of a model put together from the variants, on the text that was held out.
EvalComparison measure(const Conversion& conversion, std::unique_ptr<TensorStore> chosen,
                       const SensitivityRun& run) {
  const Source& source = conversion.source;
  ModelOptions options;
  options.device.kind = Device::Kind::cpu;
  options.threads = conversion.pool.threads();
  return run.compare(make_model(source.checkpoint->config(), source.schemes, source.rotation,
                                source.two_planes, {}, std::move(chosen), options, {}));
}

void use(const Assignment& chosen, const Variants& variants, Source& source) {
  source.two_planes = chosen.two_planes;
  source.schemes = variants.plain().schemes;
  for (const std::string& weight : chosen.grouped)
    source.schemes.others[weight] = Scheme::w8a8_g128;
  for (const std::string& weight : chosen.f16) source.schemes.others[weight] = Scheme::f16;
}

/// Sets the source's forms to what comes below the budget, as measured on the held-out text. The
/// whole model adds what single linears do not show (its embedding, its cache), and other texts are
/// to keep the budget too: where the KL with its standard error is above, the search aims lower,
/// and once it has hit, halfway back to where it had missed: one step may be far too long.
void search(Conversion& conversion, Variants& variants, SensitivityRun& run, double budget,
            ConvertReport& converted) {
  constexpr int max_attempts = 4, most_misses = 12;
  Source& source = conversion.source;
  MixedReport& report = converted.mixed;
  const ModelSensitivity sensitivity = run.finish();
  std::optional<std::pair<Assignment, MixedReport>> hit;
  double aim = budget, missed = 0;  // missed: the least KL that was expected and not reached
  for (int attempt = 0; attempt < (hit ? max_attempts : most_misses); ++attempt) {
    conversion.check_cancelled(converted.input_weights);
    const Assignment chosen = assign(sensitivity.linears, sensitivity.all.kl_mean, aim);
    use(chosen, variants, source);
    const EvalComparison made = measure(conversion, variants.chosen(source.schemes), run);
    report = mixed_report(sensitivity, source.schemes.model, chosen, made, run.positions());
    const double worst = made.kl_mean + made.kl_mean_error;
    if (worst <= budget) {
      hit.emplace(chosen, report);
      if (attempt == 0) return;
    } else {
      if (chosen.f16.size() == sensitivity.linears.size()) break;  // nothing is left to choose
      missed = chosen.expected_kl;
    }
    // Misses by little would take many steps.
    const double least_step = attempt + 1 < max_attempts ? 1 : 0.9;
    aim = hit ? (hit->first.expected_kl + missed) / 2
              : chosen.expected_kl * std::min(budget / worst, least_step);
  }
  if (!hit) return;
  use(hit->first, variants, source);
  report = std::move(hit->second);
}

/// Quantizes into memory, measures there what each linear costs, and writes what the budget asks.
/// grouped: scales of groups may be chosen.
void convert_mixed(Conversion& conversion, std::vector<std::vector<int32_t>> windows, bool grouped,
                   double budget, ConvertReport& report) {
  Source& source = conversion.source;
  const std::vector<ModelTensor> all = planned_tensors(source);
  const std::vector<std::vector<int32_t>> held_out = hold_out(windows, SensitivityRun::max_window);
  Variants variants(*source.checkpoint, all, source.schemes, grouped, conversion.pool);
  {
    SensitivityRun run(*source.checkpoint, source.rotation, variants.plain(), variants.grouped(),
                       held_out, conversion.pool);
    report.input_weights = write_model(source, std::move(windows), variants, &run, conversion.pool,
                                       conversion.progress);
    search(conversion, variants, run, budget, report);
    conversion.check_cancelled(report.input_weights);
  }
  const std::vector<StoredTensor> plan = stored_tensors(all, source.schemes);
  const std::unique_ptr<TensorStore> chosen = variants.chosen(source.schemes);
  OctetWriter file = conversion.writer(plan);
  for (size_t i = 0; i < plan.size(); ++i)
    file.write(i, 0, {chosen->data(plan[i]), static_cast<size_t>(plan[i].bytes())});
  conversion.finish(file, plan, report);
}

}  // namespace

Model Model::open(const std::string& path, const ModelOptions& options, Progress progress) {
  if (std::unique_ptr<OctetFile> file = OctetFile::open(path)) {
    const OctetHeader header = file->header();
    (void)two_planes(header.config, header.schemes.model, options.mixed);  // names are checked
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
  (void)AtomicFile(output, 0);  // where none can be made, that is an error before the work
  require(!OctetFile::open(source), ErrorCode::InvalidArgument, source,
          ": is a converted octet file already; give the checkpoint it was made from");
  std::unique_ptr<Checkpoint> original = open_merged(source, options);
  ModelText text = text_of(*original);
  auto windows = windows_for(options, *original, text.tokenizer);
  const bool calibrated = !windows.empty(), automatic = options.mixed == automatic_mixed;
  const bool searched = automatic && calibrated;
  const std::string mixed = searched ? "off" : automatic ? default_mixed : options.mixed;
  // Other programs, for which weights are folded, know no groups.
  const bool grouped = options.scheme == Scheme::w8a8 && options.rotation != Rotation::folded;
  ThreadPool pool(thread_count(options.threads));
  Conversion conversion{
      prepare(std::move(original), options.scheme, options.rotation, mixed, calibrated),
      std::move(text), output, pool, progress};

  ConvertReport report;
  for (const std::vector<int32_t>& window : windows)
    report.calibration_tokens += static_cast<int64_t>(window.size());
  if (searched)
    convert_mixed(conversion, std::move(windows), grouped, options.budget, report);
  else
    convert_plainly(conversion, std::move(windows), report);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace octet

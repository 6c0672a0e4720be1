// What each linear of a converted model costs: the float model with that linear alone in int8.
#include <octet/eval.h>

#include <algorithm>
#include <cmath>

#include "lib/convert/layer_runner.h"
#include "lib/convert/rotated_checkpoint.h"
#include "lib/convert/scaled_checkpoint.h"
#include "lib/convert/write_tensors.h"
#include "lib/core/error.h"
#include "lib/eval/divergence.h"
#include "lib/eval/eval_options.h"
#include "lib/eval/text_windows.h"
#include "lib/model/decoder.h"
#include "lib/model/linear_kinds.h"
#include "lib/model/memory_store.h"
#include "lib/model/model_impl.h"
#include "lib/model/octet_file.h"

namespace octet {
namespace {

using Values = std::vector<float>;

/// Positions of a window whose logits are compared: bounds the memory that they take.
constexpr size_t compared_positions = 64;
/// The float model's residual stream is kept for every layer.
constexpr int64_t max_linear_context = 4096;
constexpr int64_t default_tokens = 512;

/// The float weights that became the file's.
std::unique_ptr<Checkpoint> float_weights(const OctetFile& file, const std::string& reference) {
  std::unique_ptr<Checkpoint> source = open_checkpoint(reference);
  const ModelConfig &ours = file.header().config, &theirs = source->config();
  require(ours.vocab_size == theirs.vocab_size && ours.hidden_size == theirs.hidden_size &&
              ours.num_layers == theirs.num_layers &&
              ours.intermediate_size == theirs.intermediate_size,
          ErrorCode::InvalidArgument, reference, ": is not what ", file.path(),
          " was converted from: their shapes differ");
  const RotationSizes& sizes = file.header().rotation;
  if (!sizes.any()) return source;
  if (sizes.norm > 1) {
    auto scaled = std::make_unique<ScaledCheckpoint>(std::move(source));
    scaled->read_scales(file);
    return scaled;
  }
  return rotated_checkpoint(std::move(source), sizes);
}

/// What linears of a layer gave, as far as it can be seen: of gate and up their product.
struct Outputs {
  Values q, k, v, o, gated, down;

  const Values& of(LinearKind kind) const {
    switch (kind) {
      case LinearKind::q:
        return q;
      case LinearKind::k:
        return k;
      case LinearKind::v:
        return v;
      case LinearKind::o:
        return o;
      case LinearKind::gate:
      case LinearKind::up:
        return gated;
      default:
        return down;
    }
  }
};

/// Sums of squares, of errors and of what they are errors of.
struct ErrorSum {
  double error = 0, size = 0, kl = 0;

  void add(const Values& got, const Values& expected) {
    for (size_t i = 0; i < got.size(); ++i) {
      error += std::pow(double{got[i]} - expected[i], 2);
      size += std::pow(double{expected[i]}, 2);
    }
  }
};

Values difference(const float* after, const Values& before) {
  Values result(before.size());
  for (size_t i = 0; i < result.size(); ++i) result[i] = after[i] - before[i];
  return result;
}

class LinearEvaluator {
 public:
  LinearEvaluator(const OctetFile& file, const std::string& reference, const EvalOptions& options,
                  int threads)
      : options_(options),
        pool_(thread_count(threads)),
        checkpoint_(float_weights(file, reference)),
        config_(checkpoint_->config()),
        store_(stored_tensors(model_tensors(config_), Scheme::f32)),
        runner_(config_, options.context, pool_) {
    const std::vector<ModelTensor> tensors = model_tensors(config_);
    TensorWriter(*checkpoint_, tensors, Scheme::f32, store_, pool_).write(tensors, {}, nullptr);
    const OctetHeader& header = file.header();
    float_ = bind_weights(config_, Scheme::f32, header.rotation, {}, store_);
    int8_ = bind_weights(header.config, header.schemes, header.rotation, header.two_planes, file);
    sums_.resize(static_cast<size_t>(num_layer_kinds * config_.num_layers + 2));
  }

  int64_t layers() const { return config_.num_layers; }

  /// after_layer: called for each layer.
  void window(const std::vector<int32_t>& ids, FunctionRef<void(int64_t)> after_layer) {
    ids_ = &ids;
    choose_positions();
    if (positions_.empty()) return;
    const std::vector<Values> inputs = run_float();
    compare(run_from(0, embedded(int8_.embedding)), float_.head, embedding());
    compare(inputs.back(), int8_.head, head());
    for (int64_t layer = 0; layer < config_.num_layers; ++layer) {
      one_layer(layer, inputs[static_cast<size_t>(layer)]);
      after_layer(layer);
    }
    compared_ += positions_.size();
  }

  std::vector<LinearReport> report() const;

 private:
  ErrorSum& sum_of(int64_t layer, int kind) {
    return sums_[static_cast<size_t>(num_layer_kinds * layer + kind)];
  }
  ErrorSum& embedding() { return sums_[sums_.size() - 2]; }
  ErrorSum& head() { return sums_.back(); }

  void choose_positions() {
    positions_.clear();
    const auto first = static_cast<size_t>(options_.skip - 1);
    if (ids_->size() < first + 2) return;
    const size_t known = ids_->size() - 1 - first;  // positions whose next token is known
    const size_t step = (known + compared_positions - 1) / compared_positions;
    for (size_t i = first + step - 1; i + 1 < ids_->size(); i += step)
      positions_.push_back(static_cast<int64_t>(i));
  }

  size_t count() const { return ids_->size() * static_cast<size_t>(config_.hidden_size); }

  Values hidden() {
    const float* values = runner_.backend().workspace().hidden;
    return {values, values + count()};
  }

  Values embedded(const Matrix& table) {
    runner_.start(*ids_, nullptr);
    runner_.backend().embed(table);
    return hidden();
  }

  Values run_layer(const LayerWeights& weights, const Values& input,
                   const InputObserver* observer = nullptr) {
    runner_.start(*ids_, input.data());
    decode_layer(weights, 0, runner_.backend(), nullptr, observer);
    return hidden();
  }

  /// The float model's layers from `layer` on.
  Values run_from(int64_t layer, Values hidden) {
    for (; layer < config_.num_layers; ++layer)
      hidden = run_layer(float_.layers[static_cast<size_t>(layer)], hidden);
    return hidden;
  }

  /// The float model: what each layer reads, and what the head does. Keeps its logits.
  std::vector<Values> run_float() {
    std::vector<Values> inputs = {embedded(float_.embedding)};
    for (const LayerWeights& layer : float_.layers)
      inputs.push_back(run_layer(layer, inputs.back()));
    expected_.clear();
    logits(inputs.back(), float_.head, [&](size_t, std::span<const float> row) {
      expected_.insert(expected_.end(), row.begin(), row.end());
    });
    return inputs;
  }

  void logits(const Values& hidden, const Matrix& head,
              FunctionRef<void(size_t, std::span<const float>)> on_row) {
    Weights variant{};
    variant.final_norm = float_.final_norm;
    variant.head_rotation = float_.head_rotation;
    variant.head = head;
    const Batch& batch = runner_.start(*ids_, hidden.data(), positions_);
    decode_head(runner_.config(), variant, runner_.backend(), batch,
                [&](int64_t first, std::span<const RowLogits> rows) {
                  for (size_t i = 0; i < rows.size(); ++i)
                    on_row(static_cast<size_t>(first) + i, rows[i].logits);
                });
  }

  void compare(const Values& hidden, const Matrix& head, ErrorSum& sum) {
    const auto vocab = static_cast<size_t>(config_.vocab_size);
    logits(hidden, head, [&](size_t i, std::span<const float> row) {
      const std::span<const float> expected(expected_.data() + i * vocab, vocab);
      sum.kl += kl_divergence(Prediction(expected), Prediction(row));
      if (&sum == &this->head())
        sum.add({row.begin(), row.end()}, {expected.begin(), expected.end()});
    });
  }

  Outputs outputs(const LayerWeights& weights, const Values& input, Values& after) {
    Outputs seen;
    Values middle;
    const auto copy = [&](const float* values, int64_t width) {
      return Values(values, values + static_cast<int64_t>(ids_->size()) * width);
    };
    const auto observe = [&](LinearInput at, const Activations& x) {
      const Workspace& s = runner_.backend().workspace();
      if (at == LinearInput::o) {
        seen.q = copy(s.q, config_.num_heads * config_.head_dim);
        seen.k = copy(s.k, config_.num_kv_heads * config_.head_dim);
        seen.v = copy(s.v, config_.num_kv_heads * config_.head_dim);
      } else if (at == LinearInput::gate_up) {
        middle = hidden();
        seen.o = difference(middle.data(), input);
      } else if (at == LinearInput::down && x.f32) {
        seen.gated = copy(x.f32, x.k);
      }
    };
    const InputObserver observer = observe;
    after = run_layer(weights, input, &observer);
    seen.down = difference(after.data(), middle);
    return seen;
  }

  void one_layer(int64_t layer, const Values& input) {
    const auto index = static_cast<size_t>(layer);
    Values after;
    const Outputs expected = outputs(float_.layers[index], input, after);
    for (int i = 0; i < num_layer_kinds; ++i) {
      const auto kind = static_cast<LinearKind>(i);
      LayerWeights weights = float_.layers[index];
      linear_of(weights, kind) = linear_of(int8_.layers[index], kind);
      const Outputs got = outputs(weights, input, after);
      ErrorSum& sum = sum_of(layer, i);
      sum.add(got.of(kind), expected.of(kind));
      compare(run_from(layer + 1, std::move(after)), float_.head, sum);
    }
  }

  EvalOptions options_;
  ThreadPool pool_;
  std::unique_ptr<Checkpoint> checkpoint_;
  ModelConfig config_;
  MemoryStore store_;
  LayerRunner runner_;
  Weights float_, int8_;
  std::vector<ErrorSum> sums_;  // of each layer's kinds, the embedding, the head
  const std::vector<int32_t>* ids_ = nullptr;
  std::vector<int64_t> positions_;
  Values expected_;  // the float model's logits of the positions
  size_t compared_ = 0;
};

std::vector<LinearReport> LinearEvaluator::report() const {
  require(compared_ > 0, ErrorCode::InvalidArgument,
          "evaluate: the text has no token to score: it is shorter than ", options_.skip + 1,
          " tokens");
  std::vector<LinearReport> linears;
  double all = 0;
  for (const ErrorSum& sum : sums_) all += sum.kl;
  const auto add = [&](std::string weight, const char* kind, int64_t layer, const ErrorSum& sum) {
    linears.push_back({std::move(weight), kind, layer,
                       sum.size > 0 ? std::sqrt(sum.error / sum.size) : 0,
                       sum.kl / static_cast<double>(compared_), all > 0 ? sum.kl / all : 0});
  };
  for (int64_t layer = 0; layer < config_.num_layers; ++layer)
    for (int i = 0; i < num_layer_kinds; ++i) {
      const auto kind = static_cast<LinearKind>(i);
      add(weight_name(kind, layer), to_string(kind), layer,
          sums_[static_cast<size_t>(num_layer_kinds * layer + i)]);
    }
  add("model.embed_tokens.weight", "embed", -1, sums_[sums_.size() - 2]);
  add(weight_name(LinearKind::head, -1), to_string(LinearKind::head), -1, sums_.back());
  return linears;
}

}  // namespace

std::vector<LinearReport> evaluate_linears(const std::string& model, const std::string& reference,
                                           TextReader read, const EvalOptions& options, int threads,
                                           Progress progress) {
  const std::unique_ptr<OctetFile> file = OctetFile::open(model);
  require(file && is_int8(file->header().schemes.model), ErrorCode::InvalidArgument, model,
          ": a converted file in an int8 scheme expected");
  check_options(options);
  require(options.context <= max_linear_context, ErrorCode::InvalidArgument,
          "evaluate: windows of ", options.context, " tokens, at most ", max_linear_context,
          " for single linears");
  const std::optional<Tokenizer> tokenizer = file->tokenizer();
  require(tokenizer.has_value(), ErrorCode::Unsupported, model, ": has no tokenizer");
  TextWindows text(read, *tokenizer);
  LinearEvaluator evaluator(*file, reference, options, threads);
  const int64_t limit = options.max_tokens > 0 ? options.max_tokens : default_tokens;
  for (int64_t used = 0; used < limit;) {
    const std::vector<int32_t> ids =
        text.next(static_cast<size_t>(std::min(options.context, limit - used)));
    if (ids.size() < 2) break;
    const auto tokens = static_cast<int64_t>(ids.size());
    evaluator.window(ids, [&](int64_t layer) {
      const int64_t done = used * evaluator.layers() + tokens * (layer + 1);
      require(!progress.call || progress.call(progress.context, done, limit * evaluator.layers()),
              ErrorCode::Cancelled, "cancelled after layer ", layer, " of ", evaluator.layers());
    });
    used += tokens;
  }
  return evaluator.report();
}

}  // namespace octet

#include "lib/convert/sensitivity.h"

#include <octet/session.h>

#include <algorithm>

#include "lib/model/decoder.h"
#include "lib/model/memory_store.h"
#include "lib/model/rope.h"

namespace octet {
namespace {

/// `layer` with one kind of linear, or all, from `other`.
LayerWeights with(LayerWeights layer, LayerWeights other, int first_kind, int end_kind,
                  int planes) {
  for (int kind = first_kind; kind < end_kind; ++kind) {
    Linear& linear = linear_of(layer, static_cast<LinearKind>(kind));
    linear = linear_of(other, static_cast<LinearKind>(kind));
    linear.weight.planes = planes;
  }
  return layer;
}

/// The positions of a window that are compared: of its second half, as the first tokens of a text
/// vary the most, and are the fewest of a text's.
std::vector<int64_t> positions_of(const std::vector<int32_t>& window) {
  std::vector<int64_t> positions;
  for (size_t i = window.size() / 2; i + 1 < window.size(); ++i)
    positions.push_back(static_cast<int64_t>(i));
  if (positions.empty()) positions.push_back(0);
  return positions;
}

}  // namespace

SensitivityRun::SensitivityRun(const Checkpoint& checkpoint, const RotationSizes& rotation,
                               StoredModel int8, std::optional<StoredModel> grouped,
                               std::vector<std::vector<int32_t>> windows, ThreadPool& pool)
    : checkpoint_(checkpoint),
      rotation_(rotation),
      int8_(std::move(int8)),
      grouped_(std::move(grouped)),
      windows_(std::move(windows)),
      pool_(pool),
      runner_(checkpoint.config(), max_window, pool),
      config_(runner_.config()) {
  embed();
}

SensitivityRun::~SensitivityRun() = default;

void SensitivityRun::embed() {
  const auto k = static_cast<size_t>(config_.hidden_size);
  float_.windows = windows_.size();
  for (const std::vector<int32_t>& window : windows_) {
    for (int32_t id : window) {
      float_.hidden.resize(float_.hidden.size() + k);
      checkpoint_.read_rows("model.embed_tokens.weight", id, id + 1,
                            float_.hidden.data() + float_.hidden.size() - k);
    }
    for (int64_t position : positions_of(window))
      targets_.push_back(window[static_cast<size_t>(position) + 1]);
  }
  int8_all_ = float_;
  const std::vector<float> first(
      float_.hidden.begin(),
      float_.hidden.begin() + static_cast<std::ptrdiff_t>(windows_[0].size() * k));
  kinds_.assign(forms * num_layer_kinds, Stream{first, 1});
}

void SensitivityRun::run(const LayerWeights& weights, Stream& stream) {
  float* at = stream.hidden.data();
  for (size_t i = 0; i < stream.windows; ++i) {
    const std::vector<int32_t>& window = windows_[i];
    const size_t count = window.size() * static_cast<size_t>(config_.hidden_size);
    runner_.start(window, at);
    decode_layer(weights, 0, runner_.backend(), nullptr);
    std::copy_n(runner_.backend().workspace().hidden, count, at);
    at += count;
  }
}

void SensitivityRun::layer(int64_t index) {
  const ModelConfig& config = checkpoint_.config();
  const std::vector<ModelTensor> tensors = layer_tensors(config, index);
  MemoryStore store(stored_tensors(tensors, Scheme::f32));
  TensorWriter(checkpoint_, tensors, Scheme::f32, store, pool_).write(tensors, {}, nullptr);
  const LayerWeights plain = bind_layer(config, Scheme::f32, rotation_, {}, store, index);
  const LayerWeights int8 = bind_layer(config, int8_.schemes, rotation_, {}, *int8_.store, index);

  const LayerWeights all = with(plain, int8, 0, num_layer_kinds, 1);
  for (Stream& earlier : layers_) run(plain, earlier);
  const size_t first = kinds_[0].hidden.size();
  layers_.push_back(
      {{float_.hidden.begin(), float_.hidden.begin() + static_cast<std::ptrdiff_t>(first)}, 1});
  run(all, layers_.back());
  for (int kind = 0; kind < num_layer_kinds; ++kind) {
    run(with(plain, int8, kind, kind + 1, 1), of_kind(kind, one_plane));
    run(with(plain, int8, kind, kind + 1, 2), of_kind(kind, both_planes));
  }
  if (grouped_) {
    const LayerWeights grouped =
        bind_layer(config, grouped_->schemes, rotation_, {}, *grouped_->store, index);
    for (int kind = 0; kind < num_layer_kinds; ++kind)
      if (has_own_input(static_cast<LinearKind>(kind)))
        run(with(plain, grouped, kind, kind + 1, 1), of_kind(kind, groups));
  }
  run(all, int8_all_);
  run(plain, float_);
}

void SensitivityRun::logits(const Matrix& head, const Weights& weights, Stream& stream,
                            OnLogits on_logits) {
  Weights variant = weights;
  variant.head = head;
  const float* at = stream.hidden.data();
  size_t position = 0;
  for (size_t i = 0; i < stream.windows; ++i) {
    const std::vector<int32_t>& window = windows_[i];
    const std::vector<int64_t> rows = positions_of(window);
    const Batch& batch = runner_.start(window, at, rows);
    at += window.size() * static_cast<size_t>(config_.hidden_size);
    decode_head(config_, variant, runner_.backend(), batch,
                [&](int64_t, std::span<const RowLogits> some) {
                  for (const RowLogits& row : some) on_logits(position++, row.logits);
                });
  }
}

EvalComparison SensitivityRun::compare(const Matrix& head, const Weights& weights, Stream& stream) {
  const auto vocab = static_cast<size_t>(config_.vocab_size);
  Divergence divergence;
  logits(head, weights, stream, [&](size_t position, std::span<const float> row) {
    divergence.add(Prediction({expected_.data() + position * vocab, vocab}), Prediction(row),
                   static_cast<size_t>(targets_[position]));
  });
  return divergence.comparison();
}

ModelSensitivity SensitivityRun::finish() {
  const ModelTensor norm{"model.norm.weight", {config_.hidden_size}};
  const ModelTensor head{config_.tied_head ? "model.embed_tokens.weight" : "lm_head.weight",
                         {config_.vocab_size, config_.hidden_size}};
  const std::vector<ModelTensor> tensors = {norm, head};
  MemoryStore store(stored_tensors(tensors, Scheme::f32));
  TensorWriter(checkpoint_, tensors, Scheme::f32, store, pool_).write(tensors, {}, nullptr);
  const Weights plain = bind_head(config_, Scheme::f32, rotation_, {}, store);
  const Weights int8 = bind_head(config_, int8_.schemes, rotation_, {}, *int8_.store);

  const auto vocab = static_cast<size_t>(config_.vocab_size);
  expected_.resize(targets_.size() * vocab);
  logits(plain.head, plain, float_, [&](size_t position, std::span<const float> row) {
    std::copy(row.begin(), row.end(), expected_.data() + position * vocab);
  });
  ModelSensitivity result;
  result.all = compare(int8.head, plain, int8_all_);
  const auto kl = [&](Stream& stream) { return compare(plain.head, plain, stream).kl_mean; };
  std::vector<double> layers;
  for (Stream& stream : layers_) layers.push_back(kl(stream));
  FormKls kinds;
  for (int kind = 0; kind < num_layer_kinds; ++kind) {
    const bool grouped = grouped_ && has_own_input(static_cast<LinearKind>(kind));
    for (Form form : {one_plane, both_planes, grouped ? groups : one_plane})
      kinds.push_back(kl(of_kind(kind, form)));
  }
  result.linears = combine(layers, kinds, head_kls(plain, int8));
  return result;
}

SensitivityRun::FormKls SensitivityRun::head_kls(const Weights& plain, const Weights& int8) {
  const auto first = static_cast<std::ptrdiff_t>(kinds_[0].hidden.size());
  Stream stream{{float_.hidden.begin(), float_.hidden.begin() + first}, 1};
  const auto kl = [&](const Matrix& head) { return compare(head, plain, stream).kl_mean; };
  Matrix doubled = int8.head;
  doubled.planes = 2;
  const double one = kl(int8.head);
  const double grouped =
      grouped_ ? kl(bind_head(config_, grouped_->schemes, rotation_, {}, *grouped_->store).head)
               : one;
  return {one, kl(doubled), grouped};
}

std::vector<LinearSensitivity> SensitivityRun::combine(const std::vector<double>& layers,
                                                       const FormKls& kinds,
                                                       const FormKls& head) const {
  double all_kinds = 0;
  for (size_t i = one_plane; i < kinds.size(); i += forms) all_kinds += kinds[i];
  std::vector<LinearSensitivity> linears;
  const auto add = [&](LinearKind kind, int64_t layer, int64_t weights, const double* kls,
                       double share) {
    const double one = kls[one_plane];
    linears.push_back({kind, layer, weights, share * one, share * std::min(one, kls[both_planes]),
                       share * std::min(one, kls[groups])});
  };
  for (size_t layer = 0; layer < layers.size(); ++layer)
    for (int kind = 0; kind < num_layer_kinds; ++kind) {
      const auto index = static_cast<int64_t>(layer);
      const std::string name = weight_name(static_cast<LinearKind>(kind), index);
      const std::vector<int64_t>& shape = checkpoint_.find(name)->shape;
      add(static_cast<LinearKind>(kind), index, shape[0] * shape[1], kinds.data() + forms * kind,
          all_kinds > 0 ? layers[layer] / all_kinds : 0);
    }
  add(LinearKind::head, 0, config_.vocab_size * config_.hidden_size, head.data(), 1);
  return linears;
}

EvalComparison SensitivityRun::compare(const Model& model) const {
  const auto vocab = static_cast<size_t>(config_.vocab_size);
  Session session(model, {.context = std::min(max_window, context_limit(model.config()))});
  Divergence divergence;
  size_t next = 0;
  for (const std::vector<int32_t>& window : windows_) {
    const std::vector<int64_t> wanted = positions_of(window);
    session.truncate(0);
    session.evaluate(window, Session::Rows::all, [&](int64_t row, std::span<const float> logits) {
      if (!std::binary_search(wanted.begin(), wanted.end(), row)) return;
      divergence.add(Prediction({expected_.data() + next * vocab, vocab}), Prediction(logits),
                     static_cast<size_t>(targets_[next]));
      ++next;
    });
  }
  return divergence.comparison();
}

}  // namespace octet

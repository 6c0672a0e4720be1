#include "lib/convert/calibration.h"

#include <algorithm>

#include "lib/convert/moments.h"
#include "lib/core/cpu.h"
#include "lib/core/error.h"
#include "lib/model/decoder.h"
#include "lib/model/memory_store.h"
#include "lib/model/rope.h"
#include "quant/input_scale.h"

namespace octet {
namespace {

/// More text gains little, and takes time in proportion.
constexpr size_t max_tokens = 8192;
/// A text of fewer tokens is all calibrated with.
constexpr size_t least_to_split = 256, most_held_out = 2048;

/// The embedding and the head do not matter.
ModelConfig without_vocabulary(ModelConfig config) {
  config.vocab_size = 1;
  return config;
}

/// where: the layer, for the message.
std::shared_ptr<const quant::Feedback> shared_factor(Moments&& moments, ThreadPool& pool,
                                                     const std::string& where) {
  require(moments.finite(), ErrorCode::InvalidFile, "calibration: ", where,
          ": a value that is not finite (the weights overflow fp32, or are damaged)");
  return std::make_shared<const quant::Feedback>(std::move(moments).factor(pool));
}

std::vector<std::vector<int32_t>> cut(const std::vector<int32_t>& ids, int64_t length) {
  std::vector<std::vector<int32_t>> windows;
  for (auto begin = ids.begin(); begin != ids.end(); begin += std::ssize(windows.back()))
    windows.emplace_back(begin, begin + std::min<std::ptrdiff_t>(length, ids.end() - begin));
  return windows;
}

/// A rotation in smaller blocks does not spread a channel over enough others for scales to pay.
constexpr int64_t least_block = 16;

/// What is seen of the inputs of linears that share them.
class InputStatistics {
 public:
  explicit InputStatistics(int64_t k) : moments(k), energy(static_cast<size_t>(k)) {}

  void add(const Activations& x, ThreadPool& pool) {
    moments.add(x.f32, x.rows, x.k, pool);
    for (int64_t row = 0; row < x.rows; ++row) {
      const float* const values = x.f32 + row * x.k;
      double squares = 0;
      for (int64_t i = 0; i < x.k; ++i) squares += double{values[i]} * values[i];
      if (!(squares > 0)) continue;
      for (int64_t i = 0; i < x.k; ++i)
        energy[static_cast<size_t>(i)] += double{values[i]} * values[i] / squares;
    }
  }

  Moments moments;
  /// Of each channel, as a share of its token's: a token's values have one scale, whatever their
  /// size, and the first token is often a thousand times larger than all others.
  std::vector<double> energy;
};

/// The sum of w_i^2 over the rows of each linear, as a share of its matrix's: all count alike.
std::vector<double> column_weights(std::initializer_list<const Linear*> linears) {
  std::vector<double> sums;
  for (const Linear* linear : linears) {
    const Matrix& w = linear->weight;
    const auto* data = static_cast<const float*>(w.data);
    std::vector<double> columns(static_cast<size_t>(w.k));
    for (int64_t row = 0; row < w.n; ++row)
      for (int64_t i = 0; i < w.k; ++i)
        columns[static_cast<size_t>(i)] += double{data[row * w.k + i]} * data[row * w.k + i];
    double total = 0;
    for (double column : columns) total += column;
    sums.resize(columns.size());
    for (size_t i = 0; i < columns.size() && total > 0; ++i) sums[i] += columns[i] / total;
  }
  return sums;
}

/// Sums over the heads that share a kv head.
std::vector<double> over_groups(const std::vector<double>& heads, const ModelConfig& config) {
  const auto d = static_cast<size_t>(config.head_dim);
  const auto group = static_cast<size_t>(config.num_heads / config.num_kv_heads);
  std::vector<double> sums(heads.size() / group);
  for (size_t i = 0; i < heads.size(); ++i) sums[i / d / group * d + i % d] += heads[i];
  return sums;
}

/// Scales for an input that is rotated in blocks of `block`.
std::vector<float> scale_for(const std::vector<double>& energy, const std::vector<double>& weight,
                             int64_t block) {
  if (block < least_block) return std::vector<float>(energy.size(), 1.0f);
  return quant::input_scale(energy, weight);
}

}  // namespace

/// Of a layer.
struct Calibration::Inputs {
  explicit Inputs(const LayerWeights& w)
      : qkv(w.q.weight.k), o(w.o.weight.k), gate_up(w.gate.weight.k), down(w.down.weight.k) {}
  InputStatistics& of(LinearInput input) {
    switch (input) {
      case LinearInput::qkv:
        return qkv;
      case LinearInput::o:
        return o;
      case LinearInput::gate_up:
        return gate_up;
      case LinearInput::down:
        break;
    }
    return down;
  }
  InputStatistics qkv, o, gate_up, down;
};

Calibration::Calibration(ScaledCheckpoint& scaled, std::vector<std::vector<int32_t>> windows,
                         ThreadPool& pool)
    : Calibration(scaled.source(), RotationSizes(), std::move(windows), pool) {
  scaled_ = &scaled;
}

Calibration::Calibration(const Checkpoint& checkpoint, const RotationSizes& rotation,
                         std::vector<std::vector<int32_t>> windows, ThreadPool& pool)
    : checkpoint_(checkpoint),
      rotation_(rotation),
      windows_(std::move(windows)),
      pool_(pool),
      runner_(without_vocabulary(checkpoint.config()), max_window, pool),
      config_(runner_.config()) {
  const int64_t hidden = config_.hidden_size, vocab = checkpoint.config().vocab_size;
  for (const std::vector<int32_t>& window : windows_)
    for (int32_t id : window) {
      require(id >= 0 && id < vocab, ErrorCode::InvalidArgument, "calibration: token id ", id,
              " is outside the vocabulary of ", vocab);
      hidden_.resize(hidden_.size() + static_cast<size_t>(hidden));
      checkpoint.read_rows("model.embed_tokens.weight", id, id + 1,
                           hidden_.data() + hidden_.size() - hidden);
    }
}

Calibration::~Calibration() = default;

void Calibration::each_window(FunctionRef<void()> work) {
  float* at = hidden_.data();
  for (const std::vector<int32_t>& window : windows_) {
    const size_t count = window.size() * static_cast<size_t>(config_.hidden_size);
    runner_.start(window, at);
    work();
    std::copy_n(runner_.backend().workspace().hidden, count, at);
    at += count;
  }
}

Feedbacks Calibration::layer(int64_t index) {
  const ModelConfig& config = checkpoint_.config();
  const std::string prefix = str("model.layers.", index, ".");
  const std::vector<ModelTensor> tensors = layer_tensors(config, index);
  MemoryStore store(stored_tensors(tensors, Scheme::f32));
  TensorWriter(checkpoint_, tensors, Scheme::f32, store, pool_).write(tensors, {}, nullptr);
  const LayerWeights weights = bind_layer(config, Scheme::f32, rotation_, {}, store, index);

  Inputs inputs(weights);
  const auto observe = [&](LinearInput input, const Activations& x) {
    inputs.of(input).add(x, pool_);
  };
  const InputObserver observer = observe;
  each_window([&] { decode_layer(weights, 0, runner_.backend(), nullptr, &observer); });
  if (scaled_) {
    LayerScales scales = scale_layer(weights, inputs);
    transform(scales, inputs);
    scaled_->set_layer(index, std::move(scales));
  }

  const auto factor = [&](InputStatistics& input, const char* linears) {
    return shared_factor(std::move(input.moments), pool_, prefix + linears);
  };
  const auto for_qkv = factor(inputs.qkv, "q, k, v");
  const auto for_gate_up = factor(inputs.gate_up, "gate, up");
  return {{prefix + "self_attn.q_proj.weight", for_qkv},
          {prefix + "self_attn.k_proj.weight", for_qkv},
          {prefix + "self_attn.v_proj.weight", for_qkv},
          {prefix + "self_attn.o_proj.weight", factor(inputs.o, "o")},
          {prefix + "mlp.gate_proj.weight", for_gate_up},
          {prefix + "mlp.up_proj.weight", for_gate_up},
          {prefix + "mlp.down_proj.weight", factor(inputs.down, "down")}};
}

LayerScales Calibration::scale_layer(const LayerWeights& w, const Inputs& inputs) const {
  const RotationSizes& sizes = scaled_->sizes();
  return {scale_for(inputs.qkv.energy, column_weights({&w.q, &w.k, &w.v}), sizes.norm),
          scale_for(over_groups(inputs.o.energy, config_),
                    over_groups(column_weights({&w.o}), config_), sizes.head),
          scale_for(inputs.gate_up.energy, column_weights({&w.gate, &w.up}), sizes.norm),
          scale_for(inputs.down.energy, column_weights({&w.down}), sizes.down)};
}

void Calibration::transform(const LayerScales& scales, Inputs& inputs) const {
  const RotationSizes& sizes = scaled_->sizes();
  const kernels::HadamardFunction hadamard = active_kernels().hadamard_f32;
  inputs.qkv.moments.transform(scales.qkv, {sizes.norm, hadamard}, pool_);
  inputs.o.moments.transform(for_query_heads(scales.o, config_), {sizes.head, hadamard}, pool_);
  inputs.gate_up.moments.transform(scales.gate_up, {sizes.norm, hadamard}, pool_);
  inputs.down.moments.transform(scales.down, {sizes.down, hadamard}, pool_);
}

std::vector<float> Calibration::scale_head(const std::vector<double>& energy) const {
  const bool tied = checkpoint_.config().tied_head;
  const char* const name = tied ? "model.embed_tokens.weight" : "lm_head.weight";
  const int64_t vocab = checkpoint_.config().vocab_size;
  std::vector<double> weight(energy.size());
  std::vector<float> row(energy.size());
  for (int64_t id = 0; id < vocab; ++id) {
    checkpoint_.read_rows(name, id, id + 1, row.data());
    for (size_t i = 0; i < row.size(); ++i) weight[i] += double{row[i]} * row[i];
  }
  return scale_for(energy, weight, scaled_->sizes().norm);
}

Feedbacks Calibration::head() {
  std::vector<float> norm(static_cast<size_t>(config_.hidden_size));
  checkpoint_.read_rows("model.norm.weight", 0, 1, norm.data());
  InputStatistics input(config_.hidden_size);
  each_window([&] {
    runner_.backend().norm(norm.data(), nullptr, 1, {.f32 = true});
    input.add(runner_.backend().workspace().x, pool_);
  });
  if (scaled_) {
    const std::vector<float> scale = scale_head(input.energy);
    input.moments.transform(scale, {scaled_->sizes().norm, active_kernels().hadamard_f32}, pool_);
    scaled_->set_head(scale);
  }
  return {{"lm_head.weight", shared_factor(std::move(input.moments), pool_, "the head")}};
}

std::vector<std::vector<int32_t>> calibration_windows(std::string_view text,
                                                      const Tokenizer& tokenizer,
                                                      const ModelConfig& config) {
  std::vector<int32_t> ids = tokenizer.encode(text);
  require(ids.size() >= 2, ErrorCode::InvalidArgument, "calibration: the text has ", ids.size(),
          " tokens, at least 2 expected");
  if (ids.size() > max_tokens) ids.resize(max_tokens);
  return cut(ids, std::min(Calibration::max_window, context_limit(config)));
}

std::vector<std::vector<int32_t>> hold_out(std::vector<std::vector<int32_t>>& windows,
                                           int64_t max_window) {
  std::vector<int32_t> ids;
  const auto length = std::ssize(windows.front());
  for (const std::vector<int32_t>& window : windows)
    ids.insert(ids.end(), window.begin(), window.end());
  const size_t wanted = ids.size() < least_to_split ? 0 : std::min(most_held_out, ids.size() / 3);
  std::vector<int32_t> held(ids.end() - static_cast<std::ptrdiff_t>(wanted), ids.end());
  if (wanted > 0) {
    ids.resize(ids.size() - wanted);
    windows = cut(ids, length);
  } else {
    held = ids;
  }
  std::vector<std::vector<int32_t>> result = cut(held, std::min<int64_t>(max_window, length));
  if (result.size() > 1 && result.back().size() < 2) result.pop_back();
  return result;
}

}  // namespace octet

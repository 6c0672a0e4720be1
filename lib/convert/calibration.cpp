#include "lib/convert/calibration.h"

#include <algorithm>

#include "lib/backends/cpu/cpu_backend.h"
#include "lib/convert/memory_store.h"
#include "lib/convert/moments.h"
#include "lib/core/cpu.h"
#include "lib/core/error.h"
#include "lib/model/decoder.h"

namespace octet {
namespace {

/// More text gains little, and takes time in proportion.
constexpr size_t max_tokens = 8192;

/// The config of a decoder of one layer, whose embedding and head do not matter.
ModelConfig one_layer(ModelConfig config) {
  config.num_layers = 1;
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

}  // namespace

Calibration::Calibration(const Checkpoint& checkpoint, const RotationSizes& rotation,
                         std::vector<std::vector<int32_t>> windows, ThreadPool& pool)
    : checkpoint_(checkpoint),
      rotation_(rotation),
      windows_(std::move(windows)),
      pool_(pool),
      config_(one_layer(checkpoint.config())),
      backend_(
          std::make_unique<CpuBackend>(config_, Scheme::f32, max_window, active_kernels(), pool)),
      cache_(std::make_unique<KvCache>(config_, KvCacheType::f32, max_window)),
      rope_(make_rope(config_, max_window)) {
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
    const Chunk chunk[] = {{cache_.get(), &rope_, 0, static_cast<int64_t>(window.size()), 0}};
    backend_->start({window, chunk, {}});
    std::copy_n(at, count, backend_->workspace().hidden);
    work();
    std::copy_n(backend_->workspace().hidden, count, at);
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

  Moments qkv(weights.q.weight.k), o(weights.o.weight.k), gate_up(weights.gate.weight.k),
      down(weights.down.weight.k);
  const auto observe = [&](LinearInput input, const Activations& x) {
    Moments& moments = input == LinearInput::qkv       ? qkv
                       : input == LinearInput::o       ? o
                       : input == LinearInput::gate_up ? gate_up
                                                       : down;
    moments.add(x.f32, x.rows, x.k, pool_);
  };
  const InputObserver observer = observe;
  each_window([&] { decode_layer(weights, 0, *backend_, nullptr, &observer); });

  const auto for_qkv = shared_factor(std::move(qkv), pool_, prefix + "q, k, v");
  const auto for_gate_up = shared_factor(std::move(gate_up), pool_, prefix + "gate, up");
  return {
      {prefix + "self_attn.q_proj.weight", for_qkv},
      {prefix + "self_attn.k_proj.weight", for_qkv},
      {prefix + "self_attn.v_proj.weight", for_qkv},
      {prefix + "self_attn.o_proj.weight", shared_factor(std::move(o), pool_, prefix + "o")},
      {prefix + "mlp.gate_proj.weight", for_gate_up},
      {prefix + "mlp.up_proj.weight", for_gate_up},
      {prefix + "mlp.down_proj.weight", shared_factor(std::move(down), pool_, prefix + "down")}};
}

Feedbacks Calibration::head() {
  std::vector<float> norm(static_cast<size_t>(config_.hidden_size));
  checkpoint_.read_rows("model.norm.weight", 0, 1, norm.data());
  Moments moments(config_.hidden_size);
  each_window([&] {
    backend_->norm(norm.data(), nullptr, {.f32 = true});
    const Activations& x = backend_->workspace().x;
    moments.add(x.f32, x.rows, x.k, pool_);
  });
  return {{"lm_head.weight", shared_factor(std::move(moments), pool_, "the head")}};
}

std::vector<std::vector<int32_t>> calibration_windows(std::string_view text,
                                                      const Tokenizer& tokenizer) {
  std::vector<int32_t> ids = tokenizer.encode(text);
  require(ids.size() >= 2, ErrorCode::InvalidArgument, "calibration: the text has ", ids.size(),
          " tokens, at least 2 expected");
  if (ids.size() > max_tokens) ids.resize(max_tokens);
  std::vector<std::vector<int32_t>> windows;
  for (auto begin = ids.begin(); begin != ids.end(); begin += std::ssize(windows.back()))
    windows.emplace_back(
        begin, begin + std::min<std::ptrdiff_t>(Calibration::max_window, ids.end() - begin));
  return windows;
}

}  // namespace octet

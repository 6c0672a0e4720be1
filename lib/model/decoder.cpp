#include "lib/model/decoder.h"

#include <algorithm>

#include "lib/core/error.h"

namespace octet {
namespace {

using kernels::Store;

/// The operations that quantize, in the order of a layer; the head has one more.
enum Site { qkv_input, o_input, mlp_input, down_input, sites };

void require_finite(bool finite, int64_t layer, int64_t site, bool head = false) {
  constexpr const char* names[sites] = {"input of q, k, v", "input of o", "input of gate, up",
                                        "input of down"};
  require(finite, ErrorCode::InvalidFile, "layer ", layer, ", ",
          head ? "input of the head" : names[site],
          ": a value that is not finite (the weights overflow fp32, or are damaged)");
}

/// Ends a step, or a group of the head's rows.
StepResult finish(const ModelConfig& config, Backend& backend, int64_t logit_rows) {
  const StepResult result = backend.finish(logit_rows);
  const int64_t layer = result.first_bad / sites;
  if (result.first_bad >= 0)
    require_finite(false, layer, result.first_bad % sites, layer == config.num_layers);
  return result;
}

void attention_block(const LayerWeights& w, int64_t layer, Backend& backend) {
  const Workspace& s = backend.workspace();
  require_finite(backend.norm(w.input_norm, nullptr), layer, qkv_input);
  const LinearTask qkv[] = {
      {&w.q.weight, w.q.bias, s.q}, {&w.k.weight, w.k.bias, s.k}, {&w.v.weight, w.v.bias, s.v}};
  backend.linear(qkv, Store::assign, &w.o.weight);
  backend.rotate_and_cache(layer, w.q_norm, w.k_norm);
  require_finite(backend.attention(layer), layer, o_input);
  const LinearTask o[] = {{&w.o.weight, w.o.bias, s.hidden}};
  backend.linear(o, Store::add, &w.gate.weight);
}

/// following: the matrix that is multiplied after the block.
void mlp_block(const LayerWeights& w, int64_t layer, Backend& backend, const Matrix& following) {
  const Workspace& s = backend.workspace();
  require_finite(backend.norm(w.post_norm, nullptr), layer, mlp_input);
  require_finite(
      backend.gate_up({&w.gate.weight, w.gate.bias, nullptr}, {&w.up.weight, w.up.bias, nullptr},
                      w.down_rotation, &w.down.weight),
      layer, down_input);
  const LinearTask down[] = {{&w.down.weight, w.down.bias, s.hidden}};
  backend.linear(down, Store::add, &following);
}

/// logits = head(norm(hidden)), a group of rows at a time.
void head(const ModelConfig& config, const Weights& weights, Backend& backend, const Batch& batch,
          LogitsReceiver on_logits) {
  const Workspace& s = backend.workspace();
  const auto wanted = static_cast<int64_t>(batch.logit_rows.size());
  for (int64_t begin = 0; begin < wanted; begin += logit_group) {
    const int64_t count = std::min(logit_group, wanted - begin);
    const auto rows =
        batch.logit_rows.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
    require_finite(backend.norm(weights.final_norm, &rows), config.num_layers, 0, true);
    const LinearTask task[] = {{&weights.head, nullptr, s.logits}};
    backend.linear(task, Store::assign, nullptr);
    const StepResult result = finish(config, backend, count);
    for (int64_t i = 0; i < count; ++i)
      if (batch.top > 0)
        on_logits(begin + i, {}, {result.best + i * result.stride, static_cast<size_t>(batch.top)});
      else
        on_logits(begin + i,
                  {result.logits + i * result.stride, static_cast<size_t>(config.vocab_size)}, {});
  }
}

}  // namespace

void decode(const ModelConfig& config, const Weights& weights, Backend& backend, const Batch& batch,
            LogitsReceiver on_logits, const HiddenObserver* observer) {
  const float* hidden = backend.workspace().hidden;
  backend.start(batch);
  backend.embed(weights.embedding);
  if (observer) (*observer)(0, hidden);
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const LayerWeights& w = weights.layers[static_cast<size_t>(layer)];
    attention_block(w, layer, backend);
    const bool last = layer + 1 == config.num_layers;
    mlp_block(w, layer, backend,
              last ? weights.head : weights.layers[static_cast<size_t>(layer) + 1].q.weight);
    if (observer) (*observer)(layer + 1, hidden);
  }
  if (batch.logit_rows.empty()) finish(config, backend, 0);
  head(config, weights, backend, batch, on_logits);
}

}  // namespace octet

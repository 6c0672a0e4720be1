#include "lib/model/decoder.h"

#include <algorithm>

#include "lib/core/error.h"

namespace octet {
namespace {

using kernels::Store;

/// What quantizes. StepResult::first_bad counts them layer by layer, keys and values also where the
/// cache is not int8, with the head's input after all layers.
enum Site : int64_t {
  qkv_input,
  keys_and_values,
  o_input,
  mlp_input,
  down_input,
  layer_sites,
  head_input = layer_sites,
};

void require_finite(bool finite, int64_t layer, Site site) {
  constexpr const char* names[] = {"input of q, k, v",  "keys and values", "input of o",
                                   "input of gate, up", "input of down",   "input of the head"};
  require(finite, ErrorCode::InvalidFile, "layer ", layer, ", ", names[site],
          ": a value that is not finite (the weights overflow fp32, or are damaged)");
}

/// Ends a step, or a group of the head's rows.
StepResult finish(const ModelConfig& config, Backend& backend, int64_t first, int64_t logit_rows) {
  const StepResult result = backend.finish(first, logit_rows);
  const int64_t layer = result.first_bad / layer_sites, site = result.first_bad % layer_sites;
  if (result.first_bad >= 0)
    require_finite(false, layer, layer == config.num_layers ? head_input : static_cast<Site>(site));
  return result;
}

void attention_block(const LayerWeights& w, int64_t layer, Backend& backend,
                     const InputObserver* observer) {
  const Workspace& s = backend.workspace();
  const InputForms forms = forms_for({&w.q.weight, &w.k.weight, &w.v.weight});
  require_finite(backend.norm(w.input_norm, nullptr, w.norm_rotation, forms), layer, qkv_input);
  if (observer) (*observer)(LinearInput::qkv, s.x);
  const LinearTask qkv[] = {
      {&w.q.weight, w.q.bias, s.q}, {&w.k.weight, w.k.bias, s.k}, {&w.v.weight, w.v.bias, s.v}};
  backend.linear(qkv, Store::assign, &w.o.weight);
  require_finite(backend.rotate_and_cache(layer, w.q_norm, w.k_norm), layer, keys_and_values);
  require_finite(backend.attention(layer, forms_for({&w.o.weight})), layer, o_input);
  if (observer) (*observer)(LinearInput::o, s.x);
  const LinearTask o[] = {{&w.o.weight, w.o.bias, s.hidden}};
  backend.linear(o, Store::add, &w.gate.weight);
}

void mlp_block(const LayerWeights& w, int64_t layer, Backend& backend, const Matrix* following,
               const InputObserver* observer) {
  const Workspace& s = backend.workspace();
  const InputForms forms = forms_for({&w.gate.weight, &w.up.weight});
  require_finite(backend.norm(w.post_norm, nullptr, w.norm_rotation, forms), layer, mlp_input);
  if (observer) (*observer)(LinearInput::gate_up, s.x);
  require_finite(
      backend.gate_up({&w.gate.weight, w.gate.bias, nullptr}, {&w.up.weight, w.up.bias, nullptr},
                      w.down_rotation, forms_for({&w.down.weight}), &w.down.weight),
      layer, down_input);
  if (observer) (*observer)(LinearInput::down, s.x);
  const LinearTask down[] = {{&w.down.weight, w.down.bias, s.hidden}};
  backend.linear(down, Store::add, following);
}

}  // namespace

InputForms forms_for(std::initializer_list<const Matrix*> matrices) {
  InputForms forms;
  for (const Matrix* matrix : matrices) {
    switch (matrix->scheme) {
      case Scheme::f32:
      case Scheme::f16:
        forms.f32 = true;
        break;
      case Scheme::w8a8:
        forms.s8 = true;
        break;
      case Scheme::w8a8_g128:
        forms.s8_g128 = true;
        break;
    }
    forms.planes = std::max(forms.planes, matrix->planes);
  }
  return forms;
}

void decode_layer(const LayerWeights& weights, int64_t layer, Backend& backend,
                  const Matrix* following, const InputObserver* observer) {
  attention_block(weights, layer, backend, observer);
  mlp_block(weights, layer, backend, following, observer);
}

/// A group of rows at a time.
void decode_head(const ModelConfig& config, const Weights& weights, Backend& backend,
                 const Batch& batch, LogitsReceiver on_logits) {
  const Workspace& s = backend.workspace();
  const auto wanted = static_cast<int64_t>(batch.logit_rows.size());
  for (int64_t begin = 0; begin < wanted; begin += logit_group) {
    const int64_t count = std::min(logit_group, wanted - begin);
    const auto rows =
        batch.logit_rows.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
    require_finite(
        backend.norm(weights.final_norm, &rows, weights.head_rotation, forms_for({&weights.head})),
        config.num_layers, head_input);
    const LinearTask task[] = {{&weights.head, nullptr, s.logits}};
    backend.linear(task, Store::assign, nullptr);
    const StepResult result = finish(config, backend, begin, count);
    RowLogits of_rows[logit_group];
    for (int64_t i = 0; i < count; ++i)
      if (batch.top > 0)
        of_rows[i] = {{},
                      {result.best + i * result.stride, static_cast<size_t>(batch.top)},
                      result.weights ? result.weights[i] : 0,
                      &backend,
                      i};
      else
        of_rows[i].logits = {result.logits + i * result.stride,
                             static_cast<size_t>(config.vocab_size)};
    on_logits(begin, {of_rows, static_cast<size_t>(count)});
  }
}

void decode(const ModelConfig& config, const Weights& weights, Backend& backend, const Batch& batch,
            LogitsReceiver on_logits, const HiddenObserver* observer) {
  const float* hidden = backend.workspace().hidden;
  backend.start(batch);
  backend.embed(weights.embedding);
  if (observer) (*observer)(0, hidden);
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    require(!batch.cancelled || !*batch.cancelled, ErrorCode::Cancelled, "the step was cancelled");
    const auto i = static_cast<size_t>(layer);
    const bool last = layer + 1 == config.num_layers;
    decode_layer(weights.layers[i], layer, backend,
                 last ? &weights.head : &weights.layers[i + 1].q.weight);
    if (observer) (*observer)(layer + 1, hidden);
  }
  if (batch.logit_rows.empty()) finish(config, backend, 0, 0);
  decode_head(config, weights, backend, batch, on_logits);
}

}  // namespace octet

#include "lib/model/weights.h"

#include <map>
#include <string>

#include "lib/core/error.h"
#include "lib/io/checkpoint.h"

namespace octet {
namespace {

class Binder {
 public:
  Binder(const ModelConfig& config, const Schemes& schemes, const TwoPlanes& two_planes,
         const TensorStore& store)
      : schemes_(schemes), two_planes_(two_planes), store_(store) {
    for (StoredTensor& tensor : stored_tensors(model_tensors(config), schemes)) {
      const std::string name = tensor.name;
      stored_.emplace(name, std::move(tensor));
    }
    for (ModelTensor& tensor : model_tensors(config))
      shapes_.emplace(tensor.name, std::move(tensor.shape));
  }

  Matrix matrix(const std::string& name) {
    const std::vector<int64_t>& shape = shapes_.at(name);
    Matrix matrix{shape[0], shape[1], schemes_.of(name)};
    matrix.data = take(name, matrix.bytes);
    if (is_int8(matrix.scheme)) {
      matrix.scale = take(scale_name(name), matrix.bytes);
      matrix.sum = take(sum_name(name), matrix.bytes);
    }
    bytes_ += matrix.bytes;
    matrix.planes = planes(name);
    return matrix;
  }

  const float* vector(const std::string& name) {
    return static_cast<const float*>(take(name, bytes_));
  }

  Linear linear(const std::string& name) {
    Linear linear{matrix(name + ".weight"), nullptr};
    linear.weight.linear = linears_++;
    if (shapes_.count(name + ".bias")) linear.bias = vector(name + ".bias");
    return linear;
  }

  int planes(std::string_view weight) const { return two_planes_.contains(weight) ? 2 : 1; }
  bool has(const std::string& name) const { return shapes_.count(name) != 0; }
  int64_t bytes() const { return bytes_; }
  int64_t linears() const { return linears_; }

 private:
  const void* take(const std::string& name, int64_t& bytes) {
    const StoredTensor& tensor = stored_.at(name);
    bytes += static_cast<int64_t>(tensor.bytes());
    return store_.data(tensor);
  }

  const Schemes& schemes_;
  const TwoPlanes& two_planes_;
  const TensorStore& store_;
  std::map<std::string, StoredTensor> stored_;
  std::map<std::string, std::vector<int64_t>> shapes_;
  int64_t bytes_ = 0, linears_ = 0;
};

LayerWeights bind_layer(Binder& binder, const RotationSizes& rotation, int64_t index) {
  const std::string prefix = str("model.layers.", index, ".");
  LayerWeights layer{};
  layer.input_norm = binder.vector(prefix + "input_layernorm.weight");
  layer.q = binder.linear(prefix + "self_attn.q_proj");
  layer.k = binder.linear(prefix + "self_attn.k_proj");
  layer.v = binder.linear(prefix + "self_attn.v_proj");
  if (binder.has(prefix + "self_attn.q_norm.weight")) {
    layer.q_norm = binder.vector(prefix + "self_attn.q_norm.weight");
    layer.k_norm = binder.vector(prefix + "self_attn.k_norm.weight");
  }
  layer.o = binder.linear(prefix + "self_attn.o_proj");
  layer.post_norm = binder.vector(prefix + "post_attention_layernorm.weight");
  layer.gate = binder.linear(prefix + "mlp.gate_proj");
  layer.up = binder.linear(prefix + "mlp.up_proj");
  layer.down = binder.linear(prefix + "mlp.down_proj");
  layer.down_rotation = rotation.down;
  layer.norm_rotation = rotation.norm;
  return layer;
}

/// tied: the embedding that is the head, or null.
void bind_head(Binder& binder, const RotationSizes& rotation, const Matrix* tied,
               Weights& weights) {
  weights.final_norm = binder.vector("model.norm.weight");
  weights.head = tied ? *tied : binder.matrix("lm_head.weight");
  weights.head.planes = binder.planes("lm_head.weight");
  if (!tied) weights.head.linear = binder.linears();
  weights.head_rotation = rotation.norm;
}

}  // namespace

LayerWeights bind_layer(const ModelConfig& config, const Schemes& schemes,
                        const RotationSizes& rotation, const TwoPlanes& two_planes,
                        const TensorStore& store, int64_t layer) {
  Binder binder(config, schemes, two_planes, store);
  return bind_layer(binder, rotation, layer);
}

Weights bind_head(const ModelConfig& config, const Schemes& schemes, const RotationSizes& rotation,
                  const TwoPlanes& two_planes, const TensorStore& store) {
  Binder binder(config, schemes, two_planes, store);
  Weights weights{};
  if (config.tied_head) weights.embedding = binder.matrix("model.embed_tokens.weight");
  bind_head(binder, rotation, config.tied_head ? &weights.embedding : nullptr, weights);
  return weights;
}

Weights bind_weights(const ModelConfig& config, const Schemes& schemes,
                     const RotationSizes& rotation, const TwoPlanes& two_planes,
                     const TensorStore& store) {
  Binder binder(config, schemes, two_planes, store);
  Weights weights{};
  weights.embedding = binder.matrix("model.embed_tokens.weight");
  for (int64_t i = 0; i < config.num_layers; ++i)
    weights.layers.push_back(bind_layer(binder, rotation, i));
  bind_head(binder, rotation, config.tied_head ? &weights.embedding : nullptr, weights);
  weights.bytes = binder.bytes();
  weights.decode_bytes = weights.bytes - (config.tied_head ? 0 : weights.embedding.bytes);
  return weights;
}

}  // namespace octet

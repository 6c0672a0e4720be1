#pragma once
// The weights of a decoder as the backends see them: pointers into a TensorStore.
#include <octet/model.h>

#include <cstdint>
#include <vector>

#include "lib/model/rotation.h"
#include "lib/model/schemes.h"
#include "lib/model/tensor_store.h"
#include "lib/model/two_planes.h"

namespace octet {

/// W [n, k], stored by `scheme` (see stored_tensors).
struct Matrix {
  int64_t n = 0, k = 0;
  Scheme scheme = Scheme::f32;
  const void* data = nullptr;
  const void* scale = nullptr;  ///< null for f32, f16
  const void* sum = nullptr;    ///< null for f32, f16
  int64_t bytes = 0;            ///< data, scale and sum
  int planes = 1;               ///< of int8 that its input is multiplied as: 1 or 2
  int64_t linear = -1;  ///< which of the model's linears, in order; -1: the embedding, a tied head
};

struct Linear {
  Matrix weight;
  const float* bias = nullptr;  ///< [n] or null
};

struct LayerWeights {
  const float* input_norm;  ///< [hidden]
  Linear q, k, v, o;
  const float* q_norm;  ///< [head_dim] or null (Qwen3)
  const float* k_norm;
  const float* post_norm;  ///< [hidden], before the MLP
  Linear gate, up, down;
  /// down's input is multiplied by Hadamard blocks of this size; 1: it isn't.
  int64_t down_rotation;
  /// The same for the input of q, k, v, and for that of gate and up.
  int64_t norm_rotation;
};

struct Weights {
  Matrix embedding;  ///< [vocab, hidden]
  std::vector<LayerWeights> layers;
  const float* final_norm;
  Matrix head;            ///< [vocab, hidden]; the embedding where it is tied
  int64_t head_rotation;  ///< as LayerWeights::norm_rotation

  int64_t bytes = 0;         ///< all
  int64_t decode_bytes = 0;  ///< read for each decoded token: everything but the embedding's rows
};

/// One layer alone; the store need not hold the others.
LayerWeights bind_layer(const ModelConfig& config, const Schemes& schemes,
                        const RotationSizes& rotation, const TwoPlanes& two_planes,
                        const TensorStore& store, int64_t layer);

/// The head and the norm before it alone.
Weights bind_head(const ModelConfig& config, const Schemes& schemes, const RotationSizes& rotation,
                  const TwoPlanes& two_planes, const TensorStore& store);

/// Errors: InvalidFile naming a tensor that is missing or has another type or shape.
Weights bind_weights(const ModelConfig& config, const Schemes& schemes,
                     const RotationSizes& rotation, const TwoPlanes& two_planes,
                     const TensorStore& store);

}  // namespace octet

#pragma once
#include <octet/cancel.h>
#include <octet/export.h>
#include <octet/model.h>

#include <cstdint>
#include <span>
#include <vector>

namespace OCTET_EXPORT octet {

struct EmbedOptions {
  /// The mean of the hidden states of all positions, or the hidden state of the last.
  enum class Pooling { mean, last };
  Pooling pooling = Pooling::mean;
  bool normalize = true;  ///< to length 1
  CancelToken cancel = {};
};

/// A vector [hidden_size] for a text: its pooled hidden states after the last layer and the final
/// norm. In a model with rotated weights (Rotation) the states are those of the rotated stream, and
/// the final norm's weight is not in them (it is part of the head): vectors of one model compare as
/// without rotation and that weight, and vectors of different conversions do not compare.
/// Takes turns with sessions and engines of the same model after each `ModelOptions::max_rows` ids.
/// Errors: InvalidArgument for no ids, more than the model's limit (both numbers), or one outside
/// the vocabulary; Cancelled.
std::vector<float> embed(const Model& model, std::span<const int32_t> ids,
                         const EmbedOptions& options = {});

}  // namespace octet

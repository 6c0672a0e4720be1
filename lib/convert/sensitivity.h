#pragma once
// What it costs a model that single linears are int8, measured on a text.
#include <octet/function_ref.h>
#include <octet/model.h>

#include <optional>
#include <string>
#include <vector>

#include "lib/convert/layer_runner.h"
#include "lib/convert/variants.h"
#include "lib/core/thread_pool.h"
#include "lib/eval/divergence.h"
#include "lib/model/linear_kinds.h"
#include "lib/model/rotation.h"

namespace octet {

/// One linear. KL: of the logits from those of the float model, in nats.
struct LinearSensitivity {
  LinearKind kind;
  int64_t layer;
  int64_t weights;       ///< in the matrix: multiplications a token
  double kl;             ///< when it alone is int8
  double kl_two_planes;  ///< when it alone is int8, and its input two planes
  double kl_grouped;     ///< when it alone is int8 with a scale a group of 128; kl: not measured
};

struct ModelSensitivity {
  std::vector<LinearSensitivity> linears;
  EvalComparison all;  ///< every linear in one plane, the embedding float
};

/// Runs a text's residual stream through a model a layer at a time, in several variants at once:
/// float; int8 in all linears; int8 in those of one kind, with one plane, with two, and with scales
/// of groups; int8 in those of one layer. A linear's own KL is taken as its layer's, times its
/// kind's share of that of all kinds in layers: so there are as many runs as kinds and layers, not
/// as linears.
class SensitivityRun {
 public:
  /// checkpoint: the float weights of what is int8 in the stores. grouped: the same linears with
  /// scales of groups, or none. windows: token ids, none longer than max_window, at least 2; single
  /// linears are measured on the first window alone.
  SensitivityRun(const Checkpoint& checkpoint, const RotationSizes& rotation, StoredModel int8,
                 std::optional<StoredModel> grouped, std::vector<std::vector<int32_t>> windows,
                 ThreadPool& pool);
  ~SensitivityRun();

  /// For each layer in rising order, once its int8 weights are in the store.
  void layer(int64_t index);
  /// After the last layer, once the head is in the store.
  ModelSensitivity finish();
  /// How far another model's logits are from the float model's, over all windows. After finish().
  EvalComparison compare(const Model& model) const;

  /// How many positions are compared.
  int64_t positions() const { return static_cast<int64_t>(targets_.size()); }

  static constexpr int64_t max_window = 256;

 private:
  /// A variant's residual stream, of the first or of all windows.
  struct Stream {
    std::vector<float> hidden;
    size_t windows;
  };

  void embed();
  enum Form { one_plane, both_planes, groups, forms };
  Stream& of_kind(int kind, Form form) { return kinds_[static_cast<size_t>(forms * kind + form)]; }
  void run(const LayerWeights& weights, Stream& stream);
  using OnLogits = FunctionRef<void(size_t position, std::span<const float> logits)>;
  /// Of the second half of each window, where the next token is known, window after window.
  void logits(const Matrix& head, const Weights& weights, Stream& stream, OnLogits on_logits);
  EvalComparison compare(const Matrix& head, const Weights& weights, Stream& stream);
  /// The KL of each form of a linear, forms apart.
  using FormKls = std::vector<double>;
  FormKls head_kls(const Weights& plain, const Weights& int8);
  std::vector<LinearSensitivity> combine(const std::vector<double>& layers, const FormKls& kinds,
                                         const FormKls& head) const;

  const Checkpoint& checkpoint_;
  RotationSizes rotation_;
  StoredModel int8_;
  std::optional<StoredModel> grouped_;
  std::vector<std::vector<int32_t>> windows_;
  ThreadPool& pool_;
  LayerRunner runner_;
  const ModelConfig& config_;  // of one layer
  Stream float_, int8_all_;
  std::vector<Stream> kinds_, layers_;
  std::vector<float> expected_;   // the float model's logits of the positions compared
  std::vector<int32_t> targets_;  // the tokens after them
};

}  // namespace octet

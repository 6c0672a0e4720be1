#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/convert/layer_runner.h"
#include "lib/convert/scaled_checkpoint.h"
#include "lib/convert/write_tensors.h"
#include "lib/model/rotation.h"

namespace octet {

/// Runs a checkpoint's decoder over calibration text in fp32, a layer at a time, so that memory is
/// that of one layer, its moments and the residual stream of all tokens.
class Calibration {
 public:
  /// windows: token ids, each window a sequence of its own, none longer than max_window.
  /// Errors: InvalidArgument for an id outside the vocabulary.
  Calibration(const Checkpoint& checkpoint, const RotationSizes& rotation,
              std::vector<std::vector<int32_t>> windows, ThreadPool& pool);
  /// Runs the source of `scaled`, and gives it the scales of each layer before its feedbacks.
  Calibration(ScaledCheckpoint& scaled, std::vector<std::vector<int32_t>> windows,
              ThreadPool& pool);
  ~Calibration();

  /// The linears of one layer; to be called for each layer in rising order.
  Feedbacks layer(int64_t index);
  /// After the last layer.
  Feedbacks head();

  static constexpr int64_t max_window = 512;

 private:
  /// Brings each window's residual stream into the backend's workspace, calls work(), and keeps
  /// what it made of it.
  void each_window(FunctionRef<void()> work);
  struct Inputs;
  LayerScales scale_layer(const LayerWeights& weights, const Inputs& inputs) const;
  void transform(const LayerScales& scales, Inputs& inputs) const;
  std::vector<float> scale_head(const std::vector<double>& energy) const;

  const Checkpoint& checkpoint_;
  RotationSizes rotation_;
  ScaledCheckpoint* scaled_ = nullptr;
  std::vector<std::vector<int32_t>> windows_;
  ThreadPool& pool_;
  LayerRunner runner_;
  const ModelConfig& config_;  // of one layer
  std::vector<float> hidden_;  // the residual stream of all windows [tokens, hidden_size]
};

/// The built-in text, of about 5,600 tokens.
std::string_view calibration_text();

/// The beginning of a text, at most 8,192 tokens, in windows of Calibration::max_window, or of the
/// model's whole context where that is less. Errors: InvalidArgument if the text is not UTF-8 or
/// shorter than 2 tokens.
std::vector<std::vector<int32_t>> calibration_windows(std::string_view text,
                                                      const Tokenizer& tokenizer,
                                                      const ModelConfig& config);

/// Takes the last third of the tokens, at most 2,048, out of the windows, to measure on; of a text
/// of less than 256 tokens nothing: then the measured ones are those calibrated with. Windows of at
/// most max_window and no longer than the given ones, at least 2 tokens each.
std::vector<std::vector<int32_t>> hold_out(std::vector<std::vector<int32_t>>& windows,
                                           int64_t max_window);

}  // namespace octet

#include "lib/convert/rotated_checkpoint.h"

#include <algorithm>
#include <future>
#include <list>
#include <map>
#include <mutex>

#include "lib/convert/finite.h"
#include "lib/convert/float_tensors.h"
#include "lib/core/cpu.h"
#include "lib/core/error.h"
#include "lib/model/folded_columns.h"
#include "quant/rotation.h"

namespace octet {
namespace {

using quant::Rotation;

/// Blocks of R4 fit the first-level cache, and gain little above this size.
constexpr int64_t max_down_block = 256;

using Values = std::shared_ptr<const std::vector<float>>;

/// How a tensor comes from the source's: left W diag(norm) right.
struct Fold {
  std::string source;
  Values norm = nullptr;            ///< null: none
  const Rotation* right = nullptr;  ///< on each row, or each run of its size in a row
  const Rotation* left = nullptr;   ///< on the columns, in blocks of its size of rows
};

class RotatedCheckpoint : public Checkpoint {
 public:
  RotatedCheckpoint(std::unique_ptr<Checkpoint> source, const RotationSizes& sizes)
      : source_(std::move(source)),
        sizes_(sizes),
        residual_(sizes_.hidden, active_kernels().hadamard_f32),
        value_head_(sizes_.head, active_kernels().hadamard_f32),
        down_(sizes_.down, active_kernels().hadamard_f32) {
    path_ = source_->path();
    format_ = source_->format();
    config_ = source_->config();
    config_.tied_head = false;
    text_ = source_->text();
    tensors_ = float_tensors(config_);
    fold_all();
  }

  void read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    if (const auto columns = columns_.find(name); columns != columns_.end())
      return source_->read_rows(columns->second, begin, end, out);
    const CheckpointTensor* tensor = find(name);
    require(tensor, ErrorCode::Internal, path_, ": no tensor '", name, "'");
    const int64_t k = tensor->shape.back();
    const auto found = folds_.find(name);
    if (found == folds_.end())
      source_->read_rows(name, begin, end, out);
    else if (found->second.source.empty())
      std::fill_n(out, (end - begin) * k, 1.0f);
    else if (found->second.left)
      copy_rows(*tensor, found->second, begin, end, out);
    else
      fold_rows(found->second, begin, end, k, out);
  }

 private:
  void fold_all() {
    const bool tied = source_->config().tied_head;
    folds_["model.embed_tokens.weight"] = {"model.embed_tokens.weight", {}, &residual_};
    for (int64_t i = 0; i < config_.num_layers; ++i) {
      const std::string layer = str("model.layers.", i, ".");
      const auto fold = [&](const char* name, const Values& norm, const Rotation* right,
                            const Rotation* left) {
        folds_[layer + name] = {layer + name, norm, right, left};
      };
      const std::string input_name = layer + "input_layernorm.weight";
      const std::string post_name = layer + "post_attention_layernorm.weight";
      const Values input_norm = norm_of(input_name), post_norm = norm_of(post_name);
      fold("self_attn.q_proj.weight", input_norm, &residual_, nullptr);
      fold("self_attn.k_proj.weight", input_norm, &residual_, nullptr);
      fold("self_attn.v_proj.weight", input_norm, &residual_, &value_head_);
      if (config_.qkv_bias) fold("self_attn.v_proj.bias", nullptr, &value_head_, nullptr);
      fold("self_attn.o_proj.weight", nullptr, &value_head_, &residual_);
      fold("mlp.gate_proj.weight", post_norm, &residual_, nullptr);
      fold("mlp.up_proj.weight", post_norm, &residual_, nullptr);
      fold("mlp.down_proj.weight", nullptr, &down_, &residual_);
      folds_[input_name] = {};
      folds_[post_name] = {};
    }
    folds_["lm_head.weight"] = {tied ? "model.embed_tokens.weight" : "lm_head.weight",
                                norm_of("model.norm.weight"), &residual_};
    folds_["model.norm.weight"] = {};
    add_columns();
  }

  /// The norms' weights, which are in the linears now (lib/model/folded_columns.h).
  void add_columns() {
    for (int64_t i = 0; i < config_.num_layers; ++i) {
      const std::string layer = str("model.layers.", i, ".");
      columns_[columns_name(i, "qkv")] = layer + "input_layernorm.weight";
      columns_[columns_name(i, "gate_up")] = layer + "post_attention_layernorm.weight";
    }
    columns_[head_columns_name] = "model.norm.weight";
  }

  Values norm_of(const std::string& name) const {
    std::vector<float> norm(static_cast<size_t>(config_.hidden_size));
    source_->read_rows(name, 0, 1, norm.data());
    require_finite(*source_, name, 0, config_.hidden_size, norm);
    return std::make_shared<const std::vector<float>>(std::move(norm));
  }

  /// W diag(norm) right
  void fold_rows(const Fold& fold, int64_t begin, int64_t end, int64_t k, float* out) const {
    source_->read_rows(fold.source, begin, end, out);
    const auto count = static_cast<size_t>((end - begin) * k);
    require_finite(*source_, fold.source, begin, k, {out, count});
    if (fold.norm)
      for (size_t i = 0; i < count; ++i) out[i] *= (*fold.norm)[i % fold.norm->size()];
    fold.right->apply(out, (end - begin) * k / fold.right->size());
  }

  void copy_rows(const CheckpointTensor& tensor, const Fold& fold, int64_t begin, int64_t end,
                 float* out) const {
    const Values values = whole(tensor, fold);
    const int64_t k = tensor.shape.back();
    std::copy_n(values->data() + begin * k, (end - begin) * k, out);
  }

  /// Every row of left W diag(norm) right depends on all of the source's, and tensors are read in
  /// slabs of rows, so the last two are kept. Who comes first computes one; only who wants the same
  /// waits.
  Values whole(const CheckpointTensor& tensor, const Fold& fold) const {
    std::packaged_task<Values()> compute([&] { return multiplied_out(tensor, fold); });
    std::shared_future<Values> values;
    bool first = false;
    {
      std::lock_guard lock(mutex_);
      for (const auto& [name, kept] : recent_)
        if (name == tensor.name) values = kept;
      if (!values.valid()) {
        values = compute.get_future();
        first = true;
        if (recent_.size() == 2) recent_.pop_front();
        recent_.emplace_back(tensor.name, values);
      }
    }
    if (first) compute();
    return values.get();
  }

  Values multiplied_out(const CheckpointTensor& tensor, const Fold& fold) const {
    const int64_t n = tensor.shape[0], k = tensor.shape[1];
    auto values = std::make_shared<std::vector<float>>(static_cast<size_t>(n * k));
    fold_rows(fold, 0, n, k, values->data());
    for (int64_t row = 0; row < n; row += fold.left->size())
      fold.left->apply_to_columns(values->data() + row * k, k, 0, k);
    return values;
  }

  std::unique_ptr<Checkpoint> source_;
  RotationSizes sizes_;
  Rotation residual_, value_head_, down_;
  std::map<std::string, Fold, std::less<>> folds_;
  std::map<std::string, std::string, std::less<>> columns_;  // the source's tensor of each
  mutable std::mutex mutex_;
  mutable std::list<std::pair<std::string, std::shared_future<Values>>> recent_;
};

}  // namespace

RotationSizes rotation_sizes(const ModelConfig& config) {
  return {config.hidden_size, config.head_dim,
          std::min(max_down_block, quant::power_of_two_in(config.intermediate_size))};
}

std::unique_ptr<Checkpoint> rotated_checkpoint(std::unique_ptr<Checkpoint> source,
                                               const RotationSizes& sizes) {
  return std::make_unique<RotatedCheckpoint>(std::move(source), sizes);
}

}  // namespace octet

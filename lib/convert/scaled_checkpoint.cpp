#include "lib/convert/scaled_checkpoint.h"

#include <algorithm>

#include "lib/convert/finite.h"
#include "lib/convert/float_tensors.h"
#include "lib/convert/rotated_checkpoint.h"
#include "lib/core/cpu.h"
#include "lib/core/error.h"

namespace octet {
namespace {

/// What norms give is short; a block of 512 still fits the first-level cache with room to spare.
constexpr int64_t max_norm_block = 512;

}  // namespace

std::vector<float> for_query_heads(const std::vector<float>& o, const ModelConfig& config) {
  const auto d = static_cast<size_t>(config.head_dim);
  const auto group = static_cast<size_t>(config.num_heads / config.num_kv_heads);
  std::vector<float> expanded;
  for (size_t head = 0; head < static_cast<size_t>(config.num_heads); ++head) {
    const float* const shared = o.data() + head / group * d;
    expanded.insert(expanded.end(), shared, shared + d);
  }
  return expanded;
}

RotationSizes scaled_rotation_sizes(const ModelConfig& config) {
  RotationSizes sizes = rotation_sizes(config);
  sizes.hidden = 1;
  sizes.norm = std::min(max_norm_block, quant::power_of_two_in(config.hidden_size));
  return sizes;
}

ScaledCheckpoint::ScaledCheckpoint(std::unique_ptr<Checkpoint> source)
    : source_(std::move(source)),
      sizes_(scaled_rotation_sizes(source_->config())),
      norm_(sizes_.norm, active_kernels().hadamard_f32),
      value_head_(sizes_.head, active_kernels().hadamard_f32),
      down_(sizes_.down, active_kernels().hadamard_f32),
      layers_(static_cast<size_t>(source_->config().num_layers)),
      query_heads_(layers_.size()) {
  path_ = source_->path();
  format_ = source_->format();
  config_ = source_->config();
  config_.tied_head = false;
  text_ = source_->text();
  tensors_ = float_tensors(config_);
  fold_all();
}

void ScaledCheckpoint::fold_all() {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const LayerScales& s = layers_[i];
    const std::string layer = str("model.layers.", i, ".");
    const auto fold = [&](const char* name, const Scale& columns, const quant::Rotation* right,
                          const Scale* rows = nullptr, bool heads = false) {
      folds_[layer + name] = {layer + name, &columns, right, rows, heads};
    };
    fold("input_layernorm.weight", s.qkv, nullptr);
    fold("self_attn.q_proj.weight", s.qkv, &norm_);
    fold("self_attn.k_proj.weight", s.qkv, &norm_);
    fold("self_attn.v_proj.weight", s.qkv, &norm_, &s.o, true);
    if (config_.qkv_bias) fold("self_attn.v_proj.bias", s.o, &value_head_);
    fold("self_attn.o_proj.weight", query_heads_[i], &value_head_);
    fold("post_attention_layernorm.weight", s.gate_up, nullptr);
    fold("mlp.gate_proj.weight", s.gate_up, &norm_);
    fold("mlp.up_proj.weight", s.gate_up, &norm_, &s.down);
    fold("mlp.down_proj.weight", s.down, &down_);
  }
  folds_["model.norm.weight"] = {"model.norm.weight", &head_, nullptr};
  const bool tied = source_->config().tied_head;
  folds_["lm_head.weight"] = {tied ? "model.embed_tokens.weight" : "lm_head.weight", &head_,
                              &norm_};
}

void ScaledCheckpoint::set_layer(int64_t layer, LayerScales scales) {
  query_heads_[static_cast<size_t>(layer)] = for_query_heads(scales.o, config_);
  layers_[static_cast<size_t>(layer)] = std::move(scales);
}

void ScaledCheckpoint::set_head(Scale scale) {
  head_ = std::move(scale);
}

void ScaledCheckpoint::write_scales(TensorSink& sink, size_t first_index) const {
  const auto write = [&](const Scale& scale) {
    sink.write(first_index++, 0, std::as_bytes(std::span(scale)));
  };
  for (const LayerScales& layer : layers_) {
    write(layer.qkv);
    write(layer.o);
    write(layer.gate_up);
    write(layer.down);
  }
  write(head_);
}

void ScaledCheckpoint::read_scales(const TensorStore& store) {
  const std::vector<StoredTensor> tensors = input_scale_tensors(config_);
  size_t next = 0;
  const auto read = [&] {
    const StoredTensor& tensor = tensors[next++];
    const auto* values = reinterpret_cast<const float*>(store.data(tensor));
    return Scale(values, values + tensor.shape[0]);
  };
  for (int64_t layer = 0; layer < config_.num_layers; ++layer) {
    LayerScales scales;
    for (Scale* scale : {&scales.qkv, &scales.o, &scales.gate_up, &scales.down}) *scale = read();
    set_layer(layer, std::move(scales));
  }
  set_head(read());
}

void ScaledCheckpoint::read_rows(std::string_view name, int64_t begin, int64_t end,
                                 float* out) const {
  const CheckpointTensor* tensor = find(name);
  require(tensor, ErrorCode::Internal, path_, ": no tensor '", name, "'");
  const int64_t k = tensor->shape.back();
  const auto found = folds_.find(name);
  if (found == folds_.end()) return source_->read_rows(name, begin, end, out);
  const Fold& fold = found->second;
  require(!fold.columns->empty(), ErrorCode::Internal, path_, ": '", name, "' has no scales yet");
  if (tensor->shape.size() == 1)
    fold_vector(fold, k, out);
  else if (fold.heads)
    fold_heads(fold, begin, end, k, out);
  else
    fold_rows(fold, begin, end, k, out);
}

/// right(diag(s) x), of a norm's weight or v's bias
void ScaledCheckpoint::fold_vector(const Fold& fold, int64_t count, float* out) const {
  source_->read_rows(fold.source, 0, 1, out);
  require_finite(*source_, fold.source, 0, count, {out, static_cast<size_t>(count)});
  for (int64_t i = 0; i < count; ++i) out[i] *= (*fold.columns)[static_cast<size_t>(i)];
  if (fold.right) fold.right->apply(out, count / fold.right->size());
}

/// diag(rows) W diag(1 / columns) right
void ScaledCheckpoint::fold_rows(const Fold& fold, int64_t begin, int64_t end, int64_t k,
                                 float* out) const {
  source_->read_rows(fold.source, begin, end, out);
  require_finite(*source_, fold.source, begin, k, {out, static_cast<size_t>((end - begin) * k)});
  Scale inverse;
  for (float scale : *fold.columns) inverse.push_back(1.0f / scale);
  for (int64_t row = begin; row < end; ++row) {
    float* const values = out + (row - begin) * k;
    const float factor = fold.rows ? (*fold.rows)[static_cast<size_t>(row)] : 1.0f;
    for (int64_t i = 0; i < k; ++i) values[i] *= factor * inverse[static_cast<size_t>(i)];
  }
  fold.right->apply(out, (end - begin) * k / fold.right->size());
}

/// R2 fold_rows() in each head: the rows of whole heads, of which [begin, end) are wanted.
void ScaledCheckpoint::fold_heads(const Fold& fold, int64_t begin, int64_t end, int64_t k,
                                  float* out) const {
  const int64_t d = config_.head_dim;
  const int64_t first = begin / d * d, last = (end + d - 1) / d * d;
  std::vector<float> heads(static_cast<size_t>((last - first) * k));
  fold_rows(fold, first, last, k, heads.data());
  for (int64_t row = 0; row < last - first; row += d)
    value_head_.apply_to_columns(heads.data() + row * k, k, 0, k);
  std::copy_n(heads.data() + (begin - first) * k, (end - begin) * k, out);
}

}  // namespace octet

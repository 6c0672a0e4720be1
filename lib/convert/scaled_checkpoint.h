#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/io/checkpoint.h"
#include "lib/model/folded_columns.h"
#include "lib/model/rotation.h"
#include "lib/model/tensor_store.h"
#include "quant/rotation.h"

namespace octet {

/// What the inputs of a layer's linears are multiplied by, channel by channel.
struct LayerScales {
  std::vector<float> qkv;      ///< [hidden_size]
  std::vector<float> o;        ///< [num_kv_heads * head_dim]; heads that share a kv head share it
  std::vector<float> gate_up;  ///< [hidden_size]
  std::vector<float> down;     ///< [intermediate_size]
};

/// LayerScales::o for each query head: [num_heads * head_dim].
std::vector<float> for_query_heads(const std::vector<float>& o, const ModelConfig& config);

/// `source` for linears whose inputs are scaled and then rotated: the same function, as long as
/// Hadamard blocks are applied to what the norms give and to down_proj's input when the model runs
/// (kernels/types.h, hadamard_f32). With g the weight of the norm before a linear, s the scales of
/// its input, H the Hadamard blocks and R2 the matrix of quant/rotation.h in each head:
///   norm  s g                            o     W diag(1/s) R2
///   q, k, gate, head  W diag(1/s) H      up    diag(s of down) W diag(1/s) H
///   v     R2 diag(s of o) W diag(1/s) H  down  W diag(1/s) H      v's bias  R2 diag(s of o) b
/// The residual stream and the embedding stay as they are. The head becomes a matrix of its own.
class ScaledCheckpoint : public Checkpoint {
 public:
  explicit ScaledCheckpoint(std::unique_ptr<Checkpoint> source);

  const Checkpoint& source() const { return *source_; }
  const RotationSizes& sizes() const { return sizes_; }

  /// A layer's tensors, or the head and the norm before it, can be read after this.
  void set_layer(int64_t layer, LayerScales scales);
  void set_head(std::vector<float> scale);

  /// The scales as a converted file holds them: tensors input_scale_tensors(), from first_index on.
  void write_scales(TensorSink& sink, size_t first_index) const;
  void read_scales(const TensorStore& store);

  void read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override;

 private:
  using Scale = std::vector<float>;
  /// How a tensor comes from the source's.
  struct Fold {
    std::string source;
    const Scale* columns;          ///< divides them; a norm's or bias's single row it multiplies
    const quant::Rotation* right;  ///< then, on each run of its size in a row; null: none
    const Scale* rows = nullptr;   ///< multiplies them; null: none
    bool heads = false;            ///< then R2 from the left, head by head
  };

  void fold_all();
  void fold_rows(const Fold& fold, int64_t begin, int64_t end, int64_t k, float* out) const;
  void fold_heads(const Fold& fold, int64_t begin, int64_t end, int64_t k, float* out) const;
  void fold_vector(const Fold& fold, int64_t count, float* out) const;

  std::unique_ptr<Checkpoint> source_;
  RotationSizes sizes_;
  quant::Rotation norm_, value_head_, down_;
  std::vector<LayerScales> layers_;
  std::vector<Scale> query_heads_;  // LayerScales::o for each query head
  Scale head_;
  std::map<std::string, Fold, std::less<>> folds_;
};

/// The sizes of the matrices that ScaledCheckpoint uses for this shape.
RotationSizes scaled_rotation_sizes(const ModelConfig& config);

}  // namespace octet

// Adapter::load: from PEFT's files to the form of the model's own weights.
#include <octet/adapter.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>

#include "kernels/types.h"
#include "lib/convert/scaled_checkpoint.h"
#include "lib/core/cpu.h"
#include "lib/core/error.h"
#include "lib/io/peft_adapter.h"
#include "lib/model/adapter_impl.h"
#include "lib/model/folded_columns.h"
#include "lib/model/model_impl.h"
#include "quant/rotation.h"

namespace octet {
namespace {

using kernels::padded_n;
using kernels::project_rows;
using kernels::tile_n;
using quant::Rotation;

/// Does to adapters what was done to weights (lib/convert/rotated_checkpoint.h,
/// scaled_checkpoint.h): with L and diag(d) from the left of W and diag(c) and R from its right, up
/// becomes L diag(d) up and down becomes down diag(c) R.
class AdapterRotation {
 public:
  explicit AdapterRotation(const ModelImpl& model)
      : model_(model),
        residual_(model.rotation.hidden, active_kernels().hadamard_f32),
        normed_(std::max(model.rotation.hidden, model.rotation.norm),
                active_kernels().hadamard_f32),
        value_head_(model.rotation.head, active_kernels().hadamard_f32),
        down_(model.rotation.down, active_kernels().hadamard_f32) {}

  /// linear: "model.layers.0.mlp.up_proj" or "lm_head".
  void apply(const std::string& linear, LowRankDelta& delta) const {
    const auto is = [&](const char* kind) { return linear.ends_with(kind); };
    if (is("o_proj") || is("down_proj")) {
      from_right(delta, is("o_proj") ? o_columns(linear) : columns(linear, "down"),
                 is("o_proj") ? value_head_ : down_);
      from_left(delta, residual_);
      return;
    }
    const bool gate_up = is("gate_proj") || is("up_proj");
    from_right(delta, columns(linear, gate_up ? "gate_up" : "qkv"), normed_);
    if (is("up_proj")) multiply_rows(delta, scales(linear, "down"));
    if (!is("v_proj")) return;
    multiply_rows(delta, scales(linear, "o"));
    from_left(delta, value_head_);
  }

 private:
  bool scaled() const { return model_.rotation.norm > 1; }

  /// c, by what the columns of the weight were multiplied before R; empty: by nothing.
  std::vector<float> columns(const std::string& linear, const char* input) const {
    if (scaled()) return inverse(scales(linear, input));
    if (std::string_view(input) == "down") return {};
    return stored(linear == "lm_head" ? head_columns_name : columns_name(layer_of(linear), input),
                  model_.config.hidden_size);
  }

  /// Heads that share a kv head share its scales.
  std::vector<float> o_columns(const std::string& linear) const {
    if (!scaled()) return {};
    return inverse(for_query_heads(scales(linear, "o"), model_.config));
  }

  /// s, by what the linear's input was multiplied when its columns were divided; empty: by nothing.
  std::vector<float> scales(const std::string& linear, const char* input) const {
    if (!scaled()) return {};
    const std::string name = linear == "lm_head"
                                 ? "octet.input_scale.head"
                                 : str("octet.input_scale.", layer_of(linear), ".", input);
    for (const StoredTensor& tensor : input_scale_tensors(model_.config))
      if (tensor.name == name) return stored(name, static_cast<int64_t>(tensor.shape[0]));
    fail(ErrorCode::Internal, "no tensor ", name);
  }

  static int64_t layer_of(const std::string& linear) {
    return std::stoll(linear.substr(std::string_view("model.layers.").size()));
  }

  std::vector<float> stored(const std::string& name, int64_t size) const {
    require(model_.store->has(name), ErrorCode::Unsupported, "the model has no tensor '", name,
            "', which an adapter needs to be rotated like it: convert the model again");
    const auto* const data = reinterpret_cast<const float*>(
        model_.store->data({name, "F32", {static_cast<uint64_t>(size)}}));
    return {data, data + size};
  }

  static std::vector<float> inverse(std::vector<float> values) {
    for (float& value : values) value = 1.0f / value;
    return values;
  }

  static void from_right(LowRankDelta& delta, const std::vector<float>& columns,
                         const Rotation& right) {
    const auto k = static_cast<int64_t>(delta.down.size()) / delta.rank;
    if (!columns.empty())
      for (size_t i = 0; i < delta.down.size(); ++i)
        delta.down[i] *= columns[i % static_cast<size_t>(k)];
    right.apply(delta.down.data(), delta.rank * k / right.size());
  }

  static void multiply_rows(LowRankDelta& delta, const std::vector<float>& rows) {
    if (rows.empty()) return;
    for (size_t i = 0; i < delta.up.size(); ++i)
      delta.up[i] *= rows[i / static_cast<size_t>(delta.rank)];
  }

  static void from_left(LowRankDelta& delta, const Rotation& left) {
    const auto n = static_cast<int64_t>(delta.up.size()) / delta.rank;
    for (int64_t row = 0; row < n; row += left.size())
      left.apply_to_columns(delta.up.data() + row * delta.rank, delta.rank, 0, delta.rank);
  }

  const ModelImpl& model_;
  Rotation residual_, normed_, value_head_, down_;
};

/// 2^e with 2^e <= largest < 2^(e + 1); 1 for 0.
float power_of_two(float largest) {
  return largest > 0 ? std::ldexp(1.0f, std::ilogb(largest)) : 1.0f;
}

int64_t padded_rank(int64_t rank) {
  return (rank + project_rows - 1) / project_rows * project_rows;
}

/// Into fp16 at packed_down and packed_up, which are zero, with the exponents in `scale`.
AdaptedLinear pack(const LowRankDelta& delta, double scale, uint16_t* packed_down,
                   uint16_t* packed_up) {
  const int64_t k = static_cast<int64_t>(delta.down.size()) / delta.rank,
                n = static_cast<int64_t>(delta.up.size()) / delta.rank;
  const auto convert = active_kernels().convert_f32_f16;
  AdaptedLinear packed;
  packed.rank = padded_rank(delta.rank);
  packed.down = packed_down;
  packed.up = packed_up;
  packed.scale.resize(static_cast<size_t>(packed.rank));
  for (int64_t j = 0; j < delta.rank; ++j) {
    const float* const down = delta.down.data() + j * k;
    float down_largest = 0, up_largest = 0;
    for (int64_t i = 0; i < k; ++i) down_largest = std::max(down_largest, std::fabs(down[i]));
    for (int64_t i = 0; i < n; ++i)
      up_largest =
          std::max(up_largest, std::fabs(delta.up[static_cast<size_t>(i * delta.rank + j)]));
    const float down_unit = power_of_two(down_largest), up_unit = power_of_two(up_largest);
    uint16_t* const rows = packed_down + j / project_rows * project_rows * padded_n(k);
    for (int64_t i = 0; i < k; ++i) {
      const float value = down[i] / down_unit;
      const int64_t row = i / tile_n * project_rows + j % project_rows;
      convert(&value, rows + row * tile_n + i % tile_n, 1);
    }
    for (int64_t i = 0; i < n; ++i) {
      const float value = delta.up[static_cast<size_t>(i * delta.rank + j)] / up_unit;
      convert(&value, packed_up + (i / tile_n * packed.rank + j) * tile_n + i % tile_n, 1);
    }
    packed.scale[static_cast<size_t>(j)] =
        static_cast<float>(scale * delta.scale * double{down_unit} * double{up_unit});
  }
  return packed;
}

}  // namespace

Adapter Adapter::load(const Model& model, const std::string& directory, double scale) {
  ModelImpl& impl = *model.impl();
  require(std::isfinite(scale), ErrorCode::InvalidArgument, directory, ": adapter scale ", scale,
          ", a finite number expected");
  const PeftAdapter files(directory, impl.config);
  const AdapterRotation rotation(impl);
  auto result = std::make_unique<AdapterImpl>(model);
  result->path = directory;
  int64_t down_values = 0, up_values = 0;
  for (const ModelTensor& tensor : model_tensors(impl.config)) {
    if (!files.changes(tensor.name)) continue;
    down_values += padded_rank(files.rank(tensor.name)) * padded_n(tensor.shape[1]);
    up_values += padded_rank(files.rank(tensor.name)) * padded_n(tensor.shape[0]);
  }
  result->factors = HugeMemory(static_cast<size_t>(down_values + up_values) * sizeof(uint16_t));
  auto* down = reinterpret_cast<uint16_t*>(result->factors.data());
  auto* up = down + down_values;
  for (const ModelTensor& tensor : model_tensors(impl.config)) {
    if (!is_linear(tensor.name)) continue;
    auto& linear = result->linears.emplace_back();
    if (!files.changes(tensor.name)) continue;
    LowRankDelta delta = files.delta(tensor.name);
    if (impl.rotation.any()) rotation.apply(tensor.name.substr(0, tensor.name.rfind('.')), delta);
    linear = pack(delta, scale, down, up);
    down += linear->rank * padded_n(tensor.shape[1]);
    up += linear->rank * padded_n(tensor.shape[0]);
    result->bytes += static_cast<int64_t>(linear->scale.size() * sizeof(float));
  }
  result->bytes += static_cast<int64_t>(result->factors.size());
  const std::lock_guard turn(impl.step);
  result->on_device = impl.backend->prepare(*result);
  return Adapter(Handle<AdapterImpl>(result.release()));
}

}  // namespace octet

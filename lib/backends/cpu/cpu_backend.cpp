#include "lib/backends/cpu/cpu_backend.h"

#include <cblas.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "lib/core/error.h"
#include "lib/core/huge_pages.h"
#include "quant/dequantize.h"
#include "quant/pack.h"

namespace octet {
namespace {

using kernels::ActivationLayout;
using kernels::num_groups;

/// Of the buffers of activations as AMX tiles, which a layer makes four times.
constexpr int64_t tile_parts = 8;

int64_t heads_width(const ModelConfig& config) {
  return config.num_heads * config.head_dim;
}
int64_t kv_width(const ModelConfig& config) {
  return config.num_kv_heads * config.head_dim;
}

/// The widest input of a linear.
int64_t max_width(const ModelConfig& config) {
  return std::max({config.hidden_size, heads_width(config), config.intermediate_size});
}

AlignedBuffer<float> float_buffer(int64_t count) {
  return AlignedBuffer<float>(static_cast<size_t>(count));
}

}  // namespace

CpuBackend::CpuBackend(const ModelConfig& config, Scheme scheme, int64_t max_rows,
                       const kernels::Table& table, ThreadPool& pool)
    : config_(config),
      scheme_(scheme),
      table_(table),
      pool_(pool),
      max_rows_(max_rows),
      projection_parts_(static_cast<size_t>(pool.threads())) {
  // The pool shares the work out; OpenBLAS's own threads would compete with it.
  openblas_set_num_threads(1);
  allocate(max_rows);
}

void CpuBackend::allocate(int64_t max_rows) {
  const int64_t q = heads_width(config_), kv = kv_width(config_);
  const int64_t widths[] = {config_.hidden_size, q, kv, kv, q, config_.intermediate_size};
  float** const targets[] = {&workspace_.hidden, &workspace_.q,         &workspace_.k,
                             &workspace_.v,      &workspace_.attention, &gate_};
  // Every buffer starts on a cache line.
  const auto aligned = [](int64_t count) { return (count + 15) / 16 * 16; };
  int64_t total = aligned(logit_group * config_.vocab_size);
  for (int64_t width : widths) total += aligned(max_rows * width);
  floats_ = float_buffer(total);
  float* next = floats_.data();
  for (size_t i = 0; i < std::size(targets); ++i) {
    *targets[i] = next;
    next += aligned(max_rows * widths[i]);
  }
  workspace_.logits = next;

  const int64_t half = config_.head_dim / 2, width = max_width(config_);
  cos_ = float_buffer(max_rows * half);
  sin_ = float_buffer(max_rows * half);
  scratch_.resize(static_cast<size_t>(pool_.threads()));
  for (Scratch& scratch : scratch_) {
    scratch.row = float_buffer(width);
    scratch.half_row = AlignedBuffer<uint16_t>(static_cast<size_t>(config_.head_dim));
    scratch.int16_row =
        AlignedBuffer<int16_t>(static_cast<size_t>(kernels::padded_k(config_.head_dim)));
    scratch.int8_row = AlignedBuffer<int8_t>(static_cast<size_t>(kernels::padded_k(width)));
  }
}

int64_t CpuBackend::rows_per_item(int64_t rows) const {
  return std::clamp<int64_t>(rows / (items_per_thread * pool_.threads()), 1, 16);
}

/// Into how many parts a linear's rows are cut: many, so that each thread stays with the same rows
/// from one operation to the next, since between cores that share no cache a line takes six times
/// as long as between those that do (180 ns, Zen 4). Each thread then reads all weights, which
/// takes 128 rows or more to pay; AMX multiplies too fast for that (a sixth slower on 16 threads).
int64_t CpuBackend::linear_parts(int64_t rows) const {
  const bool own = is_int8(scheme_) && layout(rows) != ActivationLayout::tiles &&
                   rows >= int8_rows * pool_.threads();
  return own ? pool_.threads() : 1;
}

/// Into how many parts what is done row by row is cut, for the same reason. With fewer rows than
/// threads it is not.
int64_t CpuBackend::row_parts(int64_t rows) const {
  return rows >= pool_.threads() ? pool_.threads() : 1;
}

void CpuBackend::each_row(int64_t rows, FunctionRef<void(int64_t, int)> work) {
  const int64_t some = rows_per_item(rows);
  const auto item = [&](int64_t i, int thread) {
    const int64_t end = std::min(rows, (i + 1) * some);
    for (int64_t row = i * some; row < end; ++row) work(row, thread);
  };
  pool_.for_each((rows + some - 1) / some, item, row_parts(rows));
}

void CpuBackend::start(const Batch& batch) {
  batch_ = &batch;
  tile_turn_ = 0;
  if (weights_ && !single_stream_)
    single_stream_ = kernels::reads_single_stream(table_.isa) && in_huge_pages(weights_);
  pool_.cancel_with(batch.cancelled);
  plan_cache(batch);
  plan_attention(batch);
  const int64_t half = config_.head_dim / 2;
  for (const Chunk& chunk : batch.chunks)
    each_row(chunk.rows, [&](int64_t i, int) {
      const int64_t row = chunk.first_row + i;
      chunk.rope->angles(chunk.first_position + i, cos_.data() + row * half,
                         sin_.data() + row * half);
    });
}

void CpuBackend::embed(const Matrix& table) {
  const int64_t k = table.k;
  each_row(batch_->rows(), [&](int64_t i, int thread) {
    const int64_t id = batch_->ids[static_cast<size_t>(i)];
    int8_t* const row = scratch_[static_cast<size_t>(thread)].int8_row.data();
    float* out = workspace_.hidden + i * k;
    switch (table.scheme) {
      case Scheme::f32:
        std::memcpy(out, static_cast<const float*>(table.data) + id * k,
                    static_cast<size_t>(k) * sizeof(float));
        break;
      case Scheme::f16:
        table_.convert_f16_f32(static_cast<const uint16_t*>(table.data) + id * k, out, k);
        break;
      case Scheme::w8a8:
        quant::dequantize_row(static_cast<const int8_t*>(table.data), k, id,
                              static_cast<const float*>(table.scale)[id], row, out);
        break;
      case Scheme::w8a8_g128:
        quant::dequantize_row_grouped(static_cast<const int8_t*>(table.data), k, id,
                                      static_cast<const uint16_t*>(table.scale), row, out);
        break;
    }
  });
}

ActivationLayout CpuBackend::layout(int64_t rows) const {
  return kernels::activation_layout(table_.isa, rows);
}

/// Buffers are made when a model first needs them. Tiles go to another part of theirs each time:
/// all threads read them, and to write a line that is in all their caches takes 50 ns (16
/// threads of an Emerald Rapids). After two layers it has left them.
Plane CpuBackend::plane(bool grouped, int index) {
  PlaneBuffers& buffers = planes_[grouped ? 1 : 0][index];
  const int64_t rows = std::max(max_rows_, logit_group), width = max_width(config_);
  const ActivationLayout most = layout(rows);
  const int64_t bytes = kernels::activation_bytes(most, rows, width);
  if (buffers.s8.size() == 0) {
    const int64_t scales = rows * (grouped ? num_groups(width) : 1);
    const int64_t parts = most == ActivationLayout::tiles ? tile_parts : 1;
    buffers.s8 = AlignedBuffer<int8_t>(static_cast<size_t>(parts * bytes));
    buffers.scale = float_buffer(scales);
  }
  const bool tiles = workspace_.x.layout == ActivationLayout::tiles;
  const int64_t part = tiles ? tile_turn_ % tile_parts : 0;
  return {buffers.s8.data() + part * bytes, buffers.scale.data()};
}

/// values: where the rows already are as fp32; null: nowhere.
void CpuBackend::set_activations(int64_t rows, int64_t k, const InputForms& forms, float* values) {
  Activations& x = workspace_.x;
  x = {};
  x.rows = rows;
  x.k = k;
  x.layout = layout(rows);
  x.stride = kernels::activation_stride(k);
  ++tile_turn_;
  if (forms.f32 || !adapted_rows_.empty()) {
    if (!values && normed_.size() == 0)
      normed_ = float_buffer(std::max(max_rows_, logit_group) * config_.hidden_size);
    x.f32 = values ? values : normed_.data();
  }
  for (int i = 0; i < forms.planes; ++i) {
    if (forms.s8) x.s8[i] = plane(false, i);
    if (forms.s8_g128) x.s8_g128[i] = plane(true, i);
  }
}

bool CpuBackend::store_activation(float* values, int64_t row, int thread) {
  const Activations& x = workspace_.x;
  const bool two_planes = x.s8[1].s8 || x.s8_g128[1].s8;
  // A second plane uses values up.
  const auto spare = [&] {
    if (!two_planes) return values;
    AlignedBuffer<float>& copy = scratch_[static_cast<size_t>(thread)].copy;
    if (copy.size() == 0) copy = float_buffer(max_width(config_));
    return std::copy_n(values, x.k, copy.data()) - x.k;
  };
  if (x.s8_g128[0].s8) {
    float* const row_values = x.f32 || x.s8[0].s8 ? spare() : values;
    if (!store_planes(row_values, row, true, thread)) return false;
  }
  return !x.s8[0].s8 || store_planes(x.f32 ? spare() : values, row, false, thread);
}

bool CpuBackend::store_planes(float* values, int64_t row, bool grouped, int thread) {
  const Activations& x = workspace_.x;
  const Plane(&planes)[2] = grouped ? x.s8_g128 : x.s8;
  const auto quantize = grouped ? table_.quantize_f32_s8_g128 : table_.quantize_f32_s8;
  const int64_t first_scale = row * (grouped ? num_groups(x.k) : 1);
  // Returns the row as it was before packing; null if a value is not finite.
  const auto store_plane = [&](const Plane& plane) -> const int8_t* {
    const bool packs = x.layout != ActivationLayout::rows;
    int8_t* const q =
        packs ? scratch_[static_cast<size_t>(thread)].int8_row.data() : plane.s8 + row * x.stride;
    if (!quantize({x.k, values, q, plane.scale + first_scale, table_.activation_xor}))
      return nullptr;
    if (packs) quant::pack_activations(q, x.k, row, plane.s8);
    return q;
  };
  const int8_t* const q = store_plane(planes[0]);
  if (!q || !planes[1].s8) return q != nullptr;
  leave_rest(values, q, planes[0].scale + first_scale, grouped);
  return store_plane(planes[1]) != nullptr;
}

/// values -= scale q, for the second plane. The inner loop has one scale, so that it is vectorized.
void CpuBackend::leave_rest(float* values, const int8_t* q, const float* scale,
                            bool grouped) const {
  const int64_t k = workspace_.x.k, run = grouped ? kernels::group_size : k;
  const auto flip = static_cast<int8_t>(table_.activation_xor);
  for (int64_t begin = 0; begin < k; begin += run) {
    const float of_run = *scale++;
    const int64_t end = std::min(begin + run, k);
    for (int64_t i = begin; i < end; ++i)
      values[i] -= of_run * static_cast<float>(static_cast<int8_t>(q[i] ^ flip));
  }
}

void CpuBackend::read_hidden(const float* weight, float* out) {
  const int64_t k = config_.hidden_size;
  each_row(batch_->rows(), [&](int64_t row, int) {
    table_.rms_norm_f32(workspace_.hidden + row * k, weight, out + row * k, k,
                        static_cast<float>(config_.rms_norm_eps));
  });
}

bool CpuBackend::norm(const float* weight, const std::span<const int64_t>* rows, int64_t rotation,
                      const InputForms& forms) {
  const int64_t k = config_.hidden_size;
  find_adapted_rows(*batch_, rows, adapted_rows_);
  set_activations(rows ? static_cast<int64_t>(rows->size()) : batch_->rows(), k, forms, nullptr);
  std::atomic<bool> finite{true};
  each_row(workspace_.x.rows, [&](int64_t i, int thread) {
    const int64_t row = rows ? (*rows)[static_cast<size_t>(i)] : i;
    float* const normed = workspace_.x.f32 ? workspace_.x.f32 + i * k
                                           : scratch_[static_cast<size_t>(thread)].row.data();
    table_.rms_norm_f32(workspace_.hidden + row * k, weight, normed, k,
                        static_cast<float>(config_.rms_norm_eps));
    if (rotation > 1) table_.hadamard_f32(normed, k, rotation);
    if (!store_activation(normed, i, thread)) finite = false;
  });
  return finite;
}

}  // namespace octet

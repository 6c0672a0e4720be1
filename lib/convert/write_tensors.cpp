#include "lib/convert/write_tensors.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>

#include "kernels/types.h"
#include "lib/convert/finite.h"
#include "lib/core/cpu.h"
#include "lib/core/error.h"
#include "quant/pack.h"
#include "quant/quantize.h"

namespace octet {
namespace {

using kernels::num_groups;
using kernels::padded_k;
using kernels::padded_n;
using kernels::tile_n;

/// Weights of a slab: large enough to keep threads busy, small enough for the caches.
constexpr int64_t slab_weights = 1 << 19;

/// Rows [begin, end) of one tensor; begin is a multiple of 16.
struct Slab {
  const ModelTensor* tensor;
  size_t index;                     ///< of the weight in the plan; its scale and sum follow it
  const quant::Feedback* feedback;  ///< null: round to nearest
  int64_t begin, end, k;
};

std::vector<Slab> cut(std::span<const ModelTensor> tensors,
                      const std::map<std::string, size_t>& indices, const Feedbacks& feedbacks) {
  std::vector<Slab> slabs;
  for (const ModelTensor& tensor : tensors) {
    const bool matrix = tensor.shape.size() == 2;
    const int64_t rows = matrix ? tensor.shape[0] : 1, k = tensor.shape.back();
    const auto found = feedbacks.find(tensor.name);
    const quant::Feedback* feedback = found == feedbacks.end() ? nullptr : found->second.get();
    const int64_t step = std::max(tile_n, slab_weights / k / tile_n * tile_n);
    for (int64_t begin = 0; begin < rows; begin += step)
      slabs.push_back(
          {&tensor, indices.at(tensor.name), feedback, begin, std::min(begin + step, rows), k});
  }
  return slabs;
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

/// Buffers of one thread.
struct Buffers {
  std::vector<float> values;
  std::vector<int8_t> quantized, packed;
  std::vector<float> scale;
  std::vector<uint16_t> half, row_scale;
  std::vector<int32_t> sum;
  std::vector<int16_t> group_sum;
};

class SlabWriter {
 public:
  SlabWriter(const Checkpoint& checkpoint, const Schemes& schemes, TensorSink& sink)
      : checkpoint_(checkpoint), schemes_(schemes), sink_(sink) {}

  void write(const Slab& slab, Buffers& b) const {
    const bool matrix = slab.tensor->shape.size() == 2;
    const Scheme scheme = matrix ? schemes_.of(slab.tensor->name) : Scheme::f32;
    if (scheme == Scheme::w8a8 && checkpoint_.is_quantized(slab.tensor->name))
      return copy_channels(slab, b);
    b.values.resize(static_cast<size_t>((slab.end - slab.begin) * slab.k));
    checkpoint_.read_rows(slab.tensor->name, slab.begin, slab.end, b.values.data());
    require_finite(checkpoint_, slab.tensor->name, slab.begin, slab.k, b.values);
    switch (scheme) {
      case Scheme::f32:
        return put(slab.index, slab.begin * slab.k, b.values);
      case Scheme::f16:
        return write_f16(slab, b);
      case Scheme::w8a8:
        return write_channels(slab, b);
      case Scheme::w8a8_g128:
        return write_groups(slab, b);
    }
  }

 private:
  /// `first`: the place of the first value within the tensor.
  template <class T>
  void put(size_t index, int64_t first, const std::vector<T>& values) const {
    sink_.write(index, static_cast<uint64_t>(first) * sizeof(T), bytes_of(values));
  }

  void write_f16(const Slab& slab, Buffers& b) const {
    constexpr float largest = 65504.0f;
    for (float value : b.values)
      require(std::abs(value) <= largest, ErrorCode::Unsupported, checkpoint_.path(), ": tensor '",
              slab.tensor->name, "' holds ", value, ", beyond fp16's ", largest,
              "; convert with another scheme");
    b.half.resize(b.values.size());
    active_kernels().convert_f32_f16(b.values.data(), b.half.data(),
                                     static_cast<int64_t>(b.values.size()));
    put(slab.index, slab.begin * slab.k, b.half);
  }

  void write_packed(const Slab& slab, Buffers& b) const {
    const int64_t rows = slab.end - slab.begin;
    b.packed.resize(static_cast<size_t>(quant::packed_bytes(rows, slab.k)));
    quant::pack_rows(b.quantized.data(), rows, slab.k, b.packed.data());
    put(slab.index, slab.begin * padded_k(slab.k), b.packed);
  }

  /// int8 as the checkpoint has it.
  void copy_channels(const Slab& slab, Buffers& b) const {
    const int64_t rows = slab.end - slab.begin;
    resize_channels(slab, b);
    checkpoint_.read_quantized_rows(slab.tensor->name, slab.begin, slab.end, b.quantized.data(),
                                    b.scale.data());
    require_finite(checkpoint_, scale_name(slab.tensor->name), slab.begin, 1,
                   {b.scale.data(), static_cast<size_t>(rows)});
    put_channels(slab, b);
  }

  void write_channels(const Slab& slab, Buffers& b) const {
    const int64_t rows = slab.end - slab.begin;
    resize_channels(slab, b);
    if (slab.feedback)
      quant::round_rows(b.values.data(), rows, slab.k, *slab.feedback, b.quantized.data(),
                        b.scale.data());
    else
      quant::quantize_rows(b.values.data(), rows, slab.k, b.quantized.data(), b.scale.data());
    put_channels(slab, b);
  }

  void resize_channels(const Slab& slab, Buffers& b) const {
    const int64_t rows = slab.end - slab.begin;
    b.quantized.resize(static_cast<size_t>(rows * slab.k));
    b.scale.assign(static_cast<size_t>(padded_n(rows)), 0.0f);
    b.sum.resize(static_cast<size_t>(padded_n(rows)));
  }

  void put_channels(const Slab& slab, Buffers& b) const {
    const int64_t rows = slab.end - slab.begin;
    quant::sum_rows(b.quantized.data(), rows, slab.k, b.sum.data());
    write_packed(slab, b);
    put(slab.index + 1, slab.begin, b.scale);
    put(slab.index + 2, slab.begin, b.sum);
  }

  void write_groups(const Slab& slab, Buffers& b) const {
    const int64_t rows = slab.end - slab.begin, groups = num_groups(slab.k);
    b.quantized.resize(b.values.size());
    b.row_scale.resize(static_cast<size_t>(rows * groups));
    b.half.resize(static_cast<size_t>(padded_n(rows) * groups));
    b.group_sum.resize(static_cast<size_t>(padded_n(rows) * groups));
    if (slab.feedback)
      quant::round_rows_grouped(b.values.data(), rows, slab.k, *slab.feedback, b.quantized.data(),
                                b.row_scale.data());
    else
      quant::quantize_rows_grouped(b.values.data(), rows, slab.k, b.quantized.data(),
                                   b.row_scale.data());
    quant::pack_group_scales(b.row_scale.data(), rows, groups, b.half.data());
    quant::sum_groups(b.quantized.data(), rows, slab.k, b.group_sum.data());
    write_packed(slab, b);
    put(slab.index + 1, slab.begin * groups, b.half);
    put(slab.index + 2, slab.begin * groups, b.group_sum);
  }

  const Checkpoint& checkpoint_;
  const Schemes& schemes_;
  TensorSink& sink_;
};

}  // namespace

WeightCounter::WeightCounter(Progress progress, std::span<const ModelTensor> tensors)
    : progress_(progress) {
  for (const ModelTensor& tensor : tensors) {
    int64_t count = 1;
    for (int64_t extent : tensor.shape) count *= extent;
    total_ += count;
  }
}

void WeightCounter::add(int64_t weights) {
  if (!progress_.call) return;
  std::lock_guard lock(mutex_);
  done_ += weights;
  require(progress_.call(progress_.context, done_, total_), ErrorCode::Cancelled,
          "cancelled after ", done_, " of ", total_, " weights");
}

TensorWriter::TensorWriter(const Checkpoint& checkpoint, std::span<const ModelTensor> plan,
                           const Schemes& schemes, TensorSink& sink, ThreadPool& pool)
    : checkpoint_(checkpoint), schemes_(schemes), sink_(sink), pool_(pool) {
  for (const StoredTensor& stored : stored_tensors(plan, schemes))
    indices_.emplace(stored.name, indices_.size());
}

void TensorWriter::write(std::span<const ModelTensor> tensors, const Feedbacks& feedbacks,
                         WeightCounter* counter) {
  const std::vector<Slab> slabs = cut(tensors, indices_, feedbacks);
  const SlabWriter writer(checkpoint_, schemes_, sink_);
  std::vector<Buffers> buffers(static_cast<size_t>(pool_.threads()));
  pool_.for_each(static_cast<int64_t>(slabs.size()), [&](int64_t i, int thread) {
    const Slab& slab = slabs[static_cast<size_t>(i)];
    writer.write(slab, buffers[static_cast<size_t>(thread)]);
    if (counter) counter->add((slab.end - slab.begin) * slab.k);
  });
}

}  // namespace octet

// Int8 weights of a linear, and the linear over them.
#include <octet/ops.h>

#include <algorithm>
#include <vector>

#include "lib/core/aligned.h"
#include "lib/core/counted.h"
#include "lib/core/cpu.h"
#include "lib/core/error.h"
#include "lib/ops/operands.h"
#include "quant/pack.h"
#include "quant/quantize.h"

namespace octet::ops {
namespace {

using kernels::group_size;
using kernels::num_groups;
using kernels::padded_k;
using kernels::padded_n;
using kernels::tile_n;

template <class T>
AlignedBuffer<T> buffer(int64_t count) {
  return AlignedBuffer<T>(static_cast<size_t>(count));
}

}  // namespace

struct QuantizedMatrixImpl : Counted {
  QuantizedMatrixImpl(const Shape<2>& shape_in, Scales scales_in);
  void pack(const float* w, int64_t first_row, int64_t count, std::vector<int8_t>& q);
  float scale(int64_t row, int64_t column) const;

  Shape<2> shape;  // [n, k]
  Scales scales;
  int64_t groups;  // scales of a row
  AlignedBuffer<int8_t> data;
  AlignedBuffer<float> row_scale;  // per_row: GemmS8::w_scale, w_sum
  AlignedBuffer<int32_t> row_sum;
  AlignedBuffer<uint16_t> group_scale;  // per_group: GemmS8Grouped::w_scale, w_sum
  AlignedBuffer<int16_t> group_sum;
};

void retain(QuantizedMatrixImpl* matrix) noexcept {
  retain_counted(matrix);
}
void release(QuantizedMatrixImpl* matrix) noexcept {
  release_counted(matrix);
}

QuantizedMatrixImpl::QuantizedMatrixImpl(const Shape<2>& shape_in, Scales scales_in)
    : shape(shape_in),
      scales(scales_in),
      groups(scales == Scales::per_row ? 1 : num_groups(shape[1])) {
  const auto [n, k] = shape;
  data = buffer<int8_t>(quant::packed_bytes(n, k));
  if (scales == Scales::per_row) {
    row_scale = buffer<float>(padded_n(n));
    row_sum = buffer<int32_t>(padded_n(n));
    std::fill_n(row_scale.data(), padded_n(n), 0.0f);  // the padding has one too
  } else {
    group_scale = buffer<uint16_t>(padded_n(n) * groups);
    group_sum = buffer<int16_t>(padded_n(n) * groups);
  }
}

/// Up to 16 rows that start at a multiple of 16.
void QuantizedMatrixImpl::pack(const float* w, int64_t first_row, int64_t count,
                               std::vector<int8_t>& q) {
  const int64_t k = shape[1], at = first_row * groups;
  if (scales == Scales::per_row) {
    quant::quantize_rows(w, count, k, q.data(), row_scale.data() + at, first_row);
    quant::sum_rows(q.data(), count, k, row_sum.data() + at);
  } else {
    std::vector<uint16_t> bfloat16(static_cast<size_t>(count * groups));
    quant::quantize_rows_grouped(w, count, k, q.data(), bfloat16.data(), first_row);
    quant::pack_group_scales(bfloat16.data(), count, groups, group_scale.data() + at);
    quant::sum_groups(q.data(), count, k, group_sum.data() + at);
  }
  quant::pack_rows(q.data(), count, k, data.data() + quant::packed_bytes(first_row, k));
}

float QuantizedMatrixImpl::scale(int64_t row, int64_t column) const {
  if (scales == Scales::per_row) return row_scale[static_cast<size_t>(row)];
  const int64_t group = row / tile_n * groups + column / group_size;
  return quant::bfloat16_value(group_scale[static_cast<size_t>(group * tile_n + row % tile_n)]);
}

QuantizedMatrix::QuantizedMatrix(TensorView<const float, 2> w, Scales scales) {
  constexpr const char* op = "QuantizedMatrix";
  const Operand weight("w", w);
  const auto [n, k] = w.shape();
  check_contiguous_rows(op, {weight});
  require(k <= kernels::max_k, ErrorCode::InvalidArgument, op, ": dimension 1 of ", weight.text(),
          " is ", k, ", expected at most ", kernels::max_k);
  impl_ = Handle<QuantizedMatrixImpl>(new QuantizedMatrixImpl(w.shape(), scales));
  std::vector<float> rows(static_cast<size_t>(tile_n * k));
  std::vector<int8_t> q(rows.size());
  for (int64_t first = 0; first < n; first += tile_n) {
    const int64_t count = std::min(tile_n, n - first);
    for (int64_t r = 0; r < count; ++r)
      std::copy_n(w.row(first + r).data(), k, rows.data() + r * k);
    try {
      impl_->pack(rows.data(), first, count, q);
    } catch (const Error& error) {  // to quant, weights are a file's
      fail(ErrorCode::InvalidArgument, op, ": ", weight.text(), ": ", error.what());
    }
  }
}

const Shape<2>& QuantizedMatrix::shape() const {
  return impl_->shape;
}

Scales QuantizedMatrix::scales() const {
  return impl_->scales;
}

int64_t QuantizedMatrix::bytes() const {
  const int64_t n = impl_->shape[0];
  const int64_t a_scale = impl_->scales == Scales::per_row ? sizeof(float) + sizeof(int32_t)
                                                           : sizeof(uint16_t) + sizeof(int16_t);
  return quant::packed_bytes(n, impl_->shape[1]) + padded_n(n) * impl_->groups * a_scale;
}

void QuantizedMatrix::dequantize(TensorView<float, 2> w) const {
  constexpr const char* op = "QuantizedMatrix::dequantize";
  const auto [n, k] = impl_->shape;
  const Operand out("w", w);
  check_extent(op, out, 0, n, "as the matrix has");
  check_extent(op, out, 1, k, "as the matrix has");
  check_contiguous_rows(op, {out});
  check_output(op, out);
  std::vector<int8_t> q(static_cast<size_t>(k));
  for (int64_t row = 0; row < n; ++row) {
    quant::unpack_row(impl_->data.data(), k, row, q.data());
    for (int64_t i = 0; i < k; ++i)
      w(row, i) = static_cast<float>(q[static_cast<size_t>(i)]) * impl_->scale(row, i);
  }
}

namespace {

/// Rows of x as the int8 kernels take them.
struct QuantizedRows {
  QuantizedRows(TensorView<const float, 2> x, bool grouped, const kernels::Table& table);

  kernels::ActivationLayout layout;
  int64_t stride;
  AlignedBuffer<int8_t> q;
  AlignedBuffer<float> scale;
};

QuantizedRows::QuantizedRows(TensorView<const float, 2> x, bool grouped,
                             const kernels::Table& table) {
  const auto [rows, k] = x.shape();
  const int64_t groups = grouped ? num_groups(k) : 1;
  layout = kernels::activation_layout(table.isa, rows);
  stride = kernels::activation_stride(k);
  q = buffer<int8_t>(kernels::activation_bytes(layout, rows, k));
  const bool packs = layout != kernels::ActivationLayout::rows;
  const auto one = buffer<int8_t>(padded_k(k));
  scale = buffer<float>(rows * groups);
  const auto quantize_row = grouped ? table.quantize_f32_s8_g128 : table.quantize_f32_s8;
  for (int64_t row = 0; row < rows; ++row) {
    int8_t* const out = packs ? one.data() : q.data() + row * stride;
    const bool finite = quantize_row(
        {k, x.row(row).data(), out, scale.data() + row * groups, table.activation_xor});
    require(finite, ErrorCode::InvalidArgument, "linear: row ", row, " of ", Operand("x", x).text(),
            " holds a value that is not finite");
    if (packs) quant::pack_activations(out, k, row, q.data());
  }
}

}  // namespace

void linear(TensorView<const float, 2> x, const QuantizedMatrix& w, TensorView<const float, 1> bias,
            TensorView<float, 2> y) {
  constexpr const char* op = "linear";
  const QuantizedMatrixImpl& matrix = *w.impl();
  const auto [n, k] = matrix.shape;
  const Operand in("x", x), offset("bias", bias), out("y", y);
  check_extent(op, in, 1, k, "the columns of w");
  check_same(op, in, 0, out, 0);
  check_extent(op, out, 1, n, "the rows of w");
  if (bias.size() > 0) check_extent(op, offset, 0, n, "the rows of w");
  check_contiguous_rows(op, {in, offset, out});
  check_apart(op, out, {in, offset});

  const kernels::Table& table = active_kernels();
  const bool grouped = matrix.scales == Scales::per_group;
  const int64_t rows = x.shape()[0], ldc = y.strides()[0];
  const QuantizedRows a(x, grouped, table);
  const float* added = bias.size() > 0 ? bias.data() : nullptr;
  if (y.size() == 0) return;
  if (grouped)
    table.gemm_s8s8_f32_g128({rows, n, k, a.q.data(), a.stride, a.scale.data(), matrix.data.data(),
                              matrix.group_scale.data(), matrix.group_sum.data(), added, y.data(),
                              ldc, kernels::Store::assign, nullptr, false, a.layout});
  else
    table.gemm_s8s8_f32({rows, n, k, a.q.data(), a.stride, a.scale.data(), matrix.data.data(),
                         matrix.row_scale.data(), matrix.row_sum.data(), added, y.data(), ldc,
                         kernels::Store::assign, nullptr, false, a.layout});
}

}  // namespace octet::ops

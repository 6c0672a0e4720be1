// fp32 to int8 and back, by rows or by groups of 128 along the row.
#include <octet/ops.h>

#include <algorithm>
#include <vector>

#include "lib/core/cpu.h"
#include "lib/core/error.h"
#include "lib/ops/operands.h"

namespace octet::ops {
namespace {

using kernels::group_size;
using kernels::num_groups;

void check_group_scales(const char* op, const Operand& x, const Operand& scale) {
  check_same(op, x, 0, scale, 0);
  check_extent(op, scale, 1, num_groups(x.shape[1]), "a group of 128 columns of x each");
}

/// scale: where row r's scales begin.
template <class ScaleOfRow>
void quantize_rows(kernels::QuantizeFunction kernel, TensorView<const float, 2> x,
                   TensorView<int8_t, 2> q, ScaleOfRow scale) {
  const auto [rows, cols] = x.shape();
  // The kernel pads each row to a multiple of 4 values, for which q has no place.
  std::vector<int8_t> padded(static_cast<size_t>(kernels::padded_k(cols)));
  for (int64_t row = 0; row < rows && cols > 0; ++row) {
    const bool finite = kernel({cols, &x(row, 0), padded.data(), scale(row), 0});
    require(finite, ErrorCode::InvalidArgument, "quantize: row ", row, " of ",
            Operand("x", x).text(), " holds a value that is not finite");
    std::copy_n(padded.data(), cols, &q(row, 0));
  }
}

}  // namespace

void quantize(TensorView<const float, 2> x, TensorView<float, 1> scale, TensorView<int8_t, 2> q) {
  constexpr const char* op = "quantize";
  const Operand in("x", x), scales("scale", scale), out("q", q);
  check_same_shape(op, in, out);
  check_same(op, in, 0, scales, 0);
  check_contiguous_rows(op, {in, scales, out});
  check_apart(op, scales, {in, out});
  check_apart(op, out, {in});
  if (x.shape()[1] == 0) scale.fill(0);
  quantize_rows(active_kernels().quantize_f32_s8, x, q, [&](int64_t row) { return &scale(row); });
}

void quantize(TensorView<const float, 2> x, TensorView<float, 2> scale, TensorView<int8_t, 2> q) {
  constexpr const char* op = "quantize";
  const Operand in("x", x), scales("scale", scale), out("q", q);
  check_same_shape(op, in, out);
  check_group_scales(op, in, scales);
  check_contiguous_rows(op, {in, scales, out});
  check_apart(op, scales, {in, out});
  check_apart(op, out, {in});
  quantize_rows(active_kernels().quantize_f32_s8_g128, x, q,
                [&](int64_t row) { return &scale(row, 0); });
}

void dequantize(TensorView<const int8_t, 2> q, TensorView<const float, 1> scale,
                TensorView<float, 2> x) {
  constexpr const char* op = "dequantize";
  const Operand in("q", q), scales("scale", scale), out("x", x);
  check_same_shape(op, in, out);
  check_same(op, in, 0, scales, 0);
  check_contiguous_rows(op, {in, scales, out});
  check_apart(op, out, {in, scales});
  const auto [rows, cols] = q.shape();
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < cols; ++i) x(row, i) = static_cast<float>(q(row, i)) * scale(row);
}

void dequantize(TensorView<const int8_t, 2> q, TensorView<const float, 2> scale,
                TensorView<float, 2> x) {
  constexpr const char* op = "dequantize";
  const Operand in("q", q), scales("scale", scale), out("x", x);
  check_same_shape(op, in, out);
  check_group_scales(op, out, scales);
  check_contiguous_rows(op, {in, scales, out});
  check_apart(op, out, {in, scales});
  const auto [rows, cols] = q.shape();
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < cols; ++i)
      x(row, i) = static_cast<float>(q(row, i)) * scale(row, i / group_size);
}

}  // namespace octet::ops

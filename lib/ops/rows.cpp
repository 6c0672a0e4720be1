// Operations on rows of fp32 values, each row by one kernel call.
#include <octet/ops.h>

#include "lib/core/cpu.h"
#include "lib/ops/operands.h"

namespace octet::ops {

void rms_norm(TensorView<const float, 2> x, TensorView<const float, 1> w, float eps,
              TensorView<float, 2> y) {
  constexpr const char* op = "rms_norm";
  const Operand in("x", x), weight("w", w), out("y", y);
  check_same_shape(op, in, out);
  check_same(op, in, 1, weight, 0);
  check_contiguous_rows(op, {in, weight, out});
  check_apart_or_same(op, out, in);
  check_apart(op, out, {weight});
  if (x.size() == 0) return;
  const auto kernel = active_kernels().rms_norm_f32;
  for (int64_t row = 0; row < x.shape()[0]; ++row)
    kernel(&x(row, 0), w.data(), &y(row, 0), x.shape()[1], eps);
}

void softmax(TensorView<const float, 2> x, TensorView<float, 2> y) {
  constexpr const char* op = "softmax";
  const Operand in("x", x), out("y", y);
  check_same_shape(op, in, out);
  check_contiguous_rows(op, {in, out});
  check_apart_or_same(op, out, in);
  if (x.size() == 0) return;
  const auto kernel = active_kernels().softmax_f32;
  for (int64_t row = 0; row < x.shape()[0]; ++row) kernel(&x(row, 0), &y(row, 0), x.shape()[1]);
}

void silu_mul(TensorView<const float, 2> gate, TensorView<const float, 2> up,
              TensorView<float, 2> y) {
  constexpr const char* op = "silu_mul";
  const Operand gates("gate", gate), ups("up", up), out("y", y);
  check_same_shape(op, gates, ups);
  check_same_shape(op, gates, out);
  check_contiguous_rows(op, {gates, ups, out});
  check_apart_or_same(op, out, gates);
  check_apart_or_same(op, out, ups);
  if (y.size() == 0) return;
  const auto kernel = active_kernels().silu_mul_f32;
  for (int64_t row = 0; row < y.shape()[0]; ++row)
    kernel(&gate(row, 0), &up(row, 0), &y(row, 0), y.shape()[1]);
}

}  // namespace octet::ops

// fp32 matrix products, by OpenBLAS.
#include <cblas.h>
#include <octet/ops.h>

#include <algorithm>
#include <limits>

#include "lib/core/error.h"
#include "lib/ops/operands.h"

namespace octet::ops {
namespace {

constexpr int64_t blas_max = std::numeric_limits<int>::max();

int blas(int64_t value) {
  return static_cast<int>(value);
}

void check_blas_size(const char* op, const Operand& a) {
  for (size_t dim = 0; dim < a.rank; ++dim) {
    require(a.shape[dim] <= blas_max, ErrorCode::InvalidArgument, op, ": dimension ", dim, " of ",
            a.text(), " is ", a.shape[dim], ", expected at most ", blas_max);
    require(a.shape[dim] <= 1 || a.strides[dim] <= blas_max, ErrorCode::InvalidArgument, op,
            ": stride ", dim, " of ", a.text(), " is ", a.strides[dim], ", expected at most ",
            blas_max);
  }
}

/// A matrix as BLAS takes it: rows of `stride` elements, read as they are or transposed.
struct BlasMatrix {
  const float* data;
  CBLAS_TRANSPOSE order;
  int stride;
};

/// True if rows of `count` columns lie one after another under these strides. A single row may
/// have any stride, which BLAS still wants to be at least its length.
bool blas_rows(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride,
               int64_t& stride) {
  if (columns > 1 && column_stride != 1) return false;
  stride = rows > 1 ? row_stride : columns;
  return stride >= columns;
}

/// `copy` takes the elements where rows repeat or overlap, which BLAS refuses.
BlasMatrix blas_matrix(const char* op, const char* name, TensorView<const float, 2> a,
                       Tensor<float, 2>& copy) {
  const auto [rows, columns] = a.shape();
  const auto [down, along] = a.strides();
  int64_t stride;
  if (blas_rows(rows, columns, down, along, stride)) return {a.data(), CblasNoTrans, blas(stride)};
  if (blas_rows(columns, rows, along, down, stride)) return {a.data(), CblasTrans, blas(stride)};
  require(down <= 1 || along <= 1, ErrorCode::InvalidArgument, op, ": ", Operand(name, a).text(),
          " has strides ", detail::to_text(a.strides()), "; expected 1 in one dimension");
  copy = a.clone();
  return {copy.data(), CblasNoTrans, blas(columns)};
}

/// c [1, n] = a [k] b [k, n]
void multiply_row(const float* a, const BlasMatrix& b, int64_t k, TensorView<float, 2> c) {
  const int64_t n = c.shape()[1];
  const bool stored = b.order == CblasNoTrans;  // as [k, n]; otherwise as [n, k]
  c.fill(0);                                    // not every gemv ignores what y held
  cblas_sgemv(CblasRowMajor, stored ? CblasTrans : CblasNoTrans, blas(stored ? k : n),
              blas(stored ? n : k), 1, b.data, b.stride, a, 1, 0, c.data(), 1);
}

/// c = a b, of operands whose shapes agree.
void multiply(const char* op, const char* a_name, TensorView<const float, 2> a, const char* b_name,
              TensorView<const float, 2> b, TensorView<float, 2> c) {
  const auto [m, n] = c.shape();
  const int64_t k = a.shape()[1];
  if (c.size() == 0) return;
  if (k == 0) return c.fill(0);
  Tensor<float, 2> a_copy, b_copy;
  const BlasMatrix left = blas_matrix(op, a_name, a, a_copy);
  const BlasMatrix right = blas_matrix(op, b_name, b, b_copy);
  // One row: sgemm would first copy all of b into its own layout.
  if (m == 1 && left.order == CblasNoTrans) return multiply_row(left.data, right, k, c);
  cblas_sgemm(CblasRowMajor, left.order, right.order, blas(m), blas(n), blas(k), 1, left.data,
              left.stride, right.data, right.stride, 0, c.data(), blas(m > 1 ? c.strides()[0] : n));
}

}  // namespace

void matmul(TensorView<const float, 2> a, TensorView<const float, 2> b, TensorView<float, 2> c) {
  constexpr const char* op = "matmul";
  const Operand left("a", a), right("b", b), out("c", c);
  check_same(op, left, 1, right, 0);
  check_same(op, left, 0, out, 0);
  check_same(op, right, 1, out, 1);
  for (const Operand& operand : {left, right, out}) check_blas_size(op, operand);
  check_contiguous_rows(op, {out});
  check_apart(op, out, {left, right});
  multiply(op, "a", a, "b", b, c);
}

void linear(TensorView<const float, 2> x, TensorView<const float, 2> w,
            TensorView<const float, 1> bias, TensorView<float, 2> y) {
  constexpr const char* op = "linear";
  const Operand in("x", x), weight("w", w), offset("bias", bias), out("y", y);
  check_same(op, in, 1, weight, 1);
  check_same(op, in, 0, out, 0);
  check_same(op, weight, 0, out, 1);
  if (bias.size() > 0) check_same(op, weight, 0, offset, 0);
  for (const Operand& operand : {in, weight, out}) check_blas_size(op, operand);
  check_contiguous_rows(op, {offset, out});
  check_apart(op, out, {in, weight, offset});
  multiply(op, "x", x, "w", w.transpose(), y);
  if (bias.size() == 0) return;
  for (int64_t row = 0; row < y.shape()[0]; ++row)
    for (int64_t col = 0; col < y.shape()[1]; ++col) y(row, col) += bias(col);
}

}  // namespace octet::ops

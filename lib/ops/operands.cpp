#include "lib/ops/operands.h"

#include <algorithm>

#include "lib/core/error.h"

namespace octet::ops {
namespace {

/// Bytes from the first element to the end of the last, over the dimensions from `first_dim` on.
int64_t span_bytes(const Operand& a, size_t first_dim) {
  int64_t last = 1;
  for (size_t dim = first_dim; dim < a.rank; ++dim) last += (a.shape[dim] - 1) * a.strides[dim];
  return last * a.element_bytes;
}

/// Two ranges [0, a_bytes) and [offset, offset + b_bytes) that repeat every `period` bytes.
bool periods_apart(int64_t offset, int64_t a_bytes, int64_t b_bytes, int64_t period) {
  if (period == 0) return false;
  const int64_t at = (offset % period + period) % period;
  return at >= a_bytes && at + b_bytes <= period;
}

bool overlap(const Operand& a, const Operand& b) {
  if (a.size == 0 || b.size == 0) return false;
  const auto offset = static_cast<int64_t>(b.data - a.data);
  if (offset >= span_bytes(a, 0) || -offset >= span_bytes(b, 0)) return false;
  if (a.rank == 1 || b.rank == 1) return true;
  // With a single row, any stride is its stride.
  const int64_t a_period = a.strides[0] * a.element_bytes,
                b_period = b.strides[0] * b.element_bytes;
  const int64_t period = a.shape[0] == 1 ? b_period : a_period;
  if (b.shape[0] > 1 && b_period != period) return true;
  return !periods_apart(offset, span_bytes(a, 1), span_bytes(b, 1), period);
}

bool same_memory(const Operand& a, const Operand& b) {
  if (a.data != b.data || a.shape != b.shape || a.element_bytes != b.element_bytes) return false;
  for (size_t dim = 0; dim < a.rank; ++dim)
    if (a.shape[dim] > 1 && a.strides[dim] != b.strides[dim]) return false;
  return true;
}

std::string numbers(const std::array<int64_t, 3>& values, size_t rank) {
  std::string text;
  for (size_t dim = 0; dim < rank; ++dim)
    text += (dim == 0 ? "[" : ", ") + std::to_string(values[dim]);
  return text + "]";
}

void check_not_overlapping(const char* op, const Operand& out, const Operand& other) {
  require(!overlap(out, other), ErrorCode::InvalidArgument, op, ": ", out.text(), " at address ",
          out.data, " overlaps ", other.text(), " at address ", other.data);
}

}  // namespace

std::string Operand::text() const {
  return name + (" " + numbers(shape, rank));
}

void check_same(const char* op, const Operand& a, size_t dim_a, const Operand& b, size_t dim_b) {
  require(a.shape[dim_a] == b.shape[dim_b], ErrorCode::InvalidArgument, op, ": dimension ", dim_a,
          " of ", a.text(), " is ", a.shape[dim_a], ", dimension ", dim_b, " of ", b.text(), " is ",
          b.shape[dim_b]);
}

void check_same_shape(const char* op, const Operand& a, const Operand& b) {
  for (size_t dim = 0; dim < a.rank; ++dim) check_same(op, a, dim, b, dim);
}

void check_extent(const char* op, const Operand& a, size_t dim, int64_t expected, const char* why) {
  require(a.shape[dim] == expected, ErrorCode::InvalidArgument, op, ": dimension ", dim, " of ",
          a.text(), " is ", a.shape[dim], ", expected ", expected, ", ", why);
}

void check_contiguous_rows(const char* op, std::initializer_list<Operand> operands) {
  for (const Operand& a : operands)
    require(a.size == 0 || a.shape[a.rank - 1] == 1 || a.strides[a.rank - 1] == 1,
            ErrorCode::InvalidArgument, op, ": ", a.text(), " has strides ",
            numbers(a.strides, a.rank), "; expected 1 in the last dimension");
}

void check_output(const char* op, const Operand& out) {
  if (out.size == 0) return;
  std::array<size_t, 3> order = {0, 1, 2};  // dimensions by rising stride
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(out.rank);
  std::stable_sort(order.begin(), end,
                   [&](size_t a, size_t b) { return out.strides[a] < out.strides[b]; });
  int64_t reach = 1;  // elements spanned by the dimensions so far
  for (auto dim = order.begin(); dim != end; ++dim) {
    if (out.shape[*dim] == 1) continue;
    require(out.strides[*dim] >= reach, ErrorCode::InvalidArgument, op, ": ", out.text(),
            " has strides ", numbers(out.strides, out.rank),
            ", under which elements of an output share memory");
    reach += (out.shape[*dim] - 1) * out.strides[*dim];
  }
}

void check_apart(const char* op, const Operand& out, std::initializer_list<Operand> others) {
  check_output(op, out);
  for (const Operand& other : others) check_not_overlapping(op, out, other);
}

void check_apart_or_same(const char* op, const Operand& out, const Operand& in) {
  check_output(op, out);
  if (!same_memory(out, in)) check_not_overlapping(op, out, in);
}

}  // namespace octet::ops

#pragma once
// What the public operations check of their tensors before they touch memory. Everything here
// throws InvalidArgument and names the operation and its operands.
#include <octet/tensor.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace octet::ops {

/// A tensor of an operation under its name, whatever its type and rank.
struct Operand {
  template <class T, size_t Rank>
  Operand(const char* name_in, const TensorView<T, Rank>& view)
      : name(name_in),
        rank(Rank),
        size(view.size()),
        data(reinterpret_cast<uintptr_t>(view.data())),
        element_bytes(sizeof(T)) {
    static_assert(Rank <= 3);
    for (size_t dim = 0; dim < Rank; ++dim) {
      shape[dim] = view.shape()[dim];
      strides[dim] = view.strides()[dim];
    }
  }

  std::string text() const;  ///< "x [2, 3]"

  const char* name;
  size_t rank;
  int64_t size;
  uintptr_t data;
  int64_t element_bytes;
  std::array<int64_t, 3> shape{}, strides{};
};

/// Extent dim_a of a is extent dim_b of b.
void check_same(const char* op, const Operand& a, size_t dim_a, const Operand& b, size_t dim_b);
/// a and b have the same rank and shape.
void check_same_shape(const char* op, const Operand& a, const Operand& b);
/// Extent `dim` of a is `expected`, which is what `why` says: "ceil(cols of x / 128)".
void check_extent(const char* op, const Operand& a, size_t dim, int64_t expected, const char* why);

/// The elements of a row lie side by side.
void check_contiguous_rows(const char* op, std::initializer_list<Operand> operands);

/// No element of `out` is at an address twice.
void check_output(const char* op, const Operand& out);
/// check_output, and `out` shares no memory with any of `others`. Views that lie between each
/// other's rows count as apart if the rows of both have the same stride (columns of one matrix),
/// else as overlapping.
void check_apart(const char* op, const Operand& out, std::initializer_list<Operand> others);
/// As check_apart, except that `out` may be `in` exactly.
void check_apart_or_same(const char* op, const Operand& out, const Operand& in);

}  // namespace octet::ops

#pragma once
/// Tensors: memory with a shape. Header-only; needs the standard library and octet/error.h.
///
///   octet::Tensor<float, 2> t({2, 3});            // owns its memory, zeros, row-major
///   t(1, 2) = 4.0f;
///   octet::TensorView<const float, 2> v = t;      // refers to it
///   v.transpose().at(2, 1);                       // 4
#include <octet/error.h>
#include <octet/export.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <string>
#include <type_traits>

namespace OCTET_EXPORT octet {

/// Extents, outermost first.
template <size_t Rank>
using Shape = std::array<int64_t, Rank>;

namespace detail {

[[noreturn]] inline void throw_invalid(std::string message) {
  throw Error(ErrorCode::InvalidArgument, std::move(message));
}

/// "[2, 3]"
template <size_t Rank>
std::string to_text(const Shape<Rank>& shape) {
  std::string text;
  for (int64_t extent : shape) text += (text.empty() ? "[" : ", ") + std::to_string(extent);
  return text + "]";
}

/// The number of elements. Errors: InvalidArgument if an extent is negative, or if the elements
/// take more bytes than an int64_t counts.
template <size_t Rank>
int64_t checked_size(const Shape<Rank>& shape, size_t element_bytes) {
  int64_t bytes = static_cast<int64_t>(element_bytes);
  bool empty = false, fits = true;
  for (size_t dim = 0; dim < Rank; ++dim) {
    if (shape[dim] < 0)
      throw_invalid("shape " + to_text(shape) + ": extent " + std::to_string(dim) + " is " +
                    std::to_string(shape[dim]) + ", expected at least 0");
    empty = empty || shape[dim] == 0;
    fits = fits && !__builtin_mul_overflow(bytes, shape[dim], &bytes);
  }
  if (empty) return 0;
  if (!fits)
    throw_invalid("shape " + to_text(shape) + " of " + std::to_string(element_bytes) +
                  "-byte elements takes more than " + std::to_string(INT64_MAX) + " bytes");
  return bytes / static_cast<int64_t>(element_bytes);
}

template <size_t Rank>
Shape<Rank> row_major_strides(const Shape<Rank>& shape) {
  Shape<Rank> strides{};
  int64_t stride = 1;
  for (size_t dim = Rank; dim-- > 0;) {
    strides[dim] = stride;
    // An empty tensor has no element to reach; its other extents may not even multiply.
    if (__builtin_mul_overflow(stride, shape[dim], &stride)) stride = 0;
  }
  return strides;
}

}  // namespace detail

template <class T, size_t Rank>
class Tensor;

/// A tensor in memory that something else owns: pointer, shape, strides (in elements). Cheap to
/// copy; like a span, a const view of non-const elements lets them be written. The memory must
/// outlive the view.
template <class T, size_t Rank>
class TensorView {
  static_assert(Rank >= 1);

 public:
  using Element = std::remove_const_t<T>;
  static constexpr size_t rank = Rank;

  /// Empty: every extent 0.
  TensorView() = default;

  /// Row-major: data[0] up to the number of elements.
  /// Errors: InvalidArgument if an extent is negative or the size overflows.
  TensorView(T* data, const Shape<Rank>& shape)
      : data_(data),
        shape_(shape),
        strides_(detail::row_major_strides(shape)),
        size_(detail::checked_size(shape, sizeof(T))) {}

  /// Element (i, j, ...) at data[i * strides[0] + j * strides[1] + ...]; a stride of 0 repeats.
  /// Errors: InvalidArgument if an extent or stride is negative or a size overflows.
  TensorView(T* data, const Shape<Rank>& shape, const Shape<Rank>& strides)
      : data_(data),
        shape_(shape),
        strides_(strides),
        size_(detail::checked_size(shape, sizeof(T))) {
    check_reach();
  }

  /// A view that may write converts to one that may not.
  template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
  TensorView(const TensorView<U, Rank>& other)  // NOLINT: implicit on purpose
      : data_(other.data()),
        shape_(other.shape()),
        strides_(other.strides()),
        size_(other.size()) {}

  T* data() const { return data_; }
  const Shape<Rank>& shape() const { return shape_; }
  const Shape<Rank>& strides() const { return strides_; }
  /// The number of elements.
  int64_t size() const { return size_; }

  /// An element; the indices are not checked.
  template <class... Index>
  T& operator()(Index... index) const {
    static_assert(sizeof...(Index) == Rank, "one index for each dimension");
    size_t dim = 0;
    int64_t offset = 0;
    ((offset += static_cast<int64_t>(index) * strides_[dim++]), ...);
    return data_[offset];
  }

  /// An element. Errors: InvalidArgument if an index is outside its extent.
  template <class... Index>
  T& at(Index... index) const {
    size_t dim = 0;
    (check_index(dim++, static_cast<int64_t>(index)), ...);
    return (*this)(index...);
  }

  /// The part whose first index is i, one rank lower: a matrix's row.
  /// Errors: InvalidArgument if i is outside the first extent.
  TensorView<T, Rank - 1> row(int64_t i) const requires(Rank >= 2) {
    check_index(0, i);
    Shape<Rank - 1> shape, strides;
    for (size_t dim = 1; dim < Rank; ++dim) {
      shape[dim - 1] = shape_[dim];
      strides[dim - 1] = strides_[dim];
    }
    return {advanced(i * strides_[0]), shape, strides};
  }

  /// The part whose index `dim` runs over [begin, end).
  /// Errors: InvalidArgument unless 0 <= begin <= end <= shape()[dim].
  TensorView slice(size_t dim, int64_t begin, int64_t end) const {
    check_dim(dim);
    if (begin < 0 || begin > end || end > shape_[dim])
      detail::throw_invalid("slice [" + std::to_string(begin) + ", " + std::to_string(end) +
                            ") of dimension " + std::to_string(dim) + ", whose extent is " +
                            std::to_string(shape_[dim]));
    Shape<Rank> shape = shape_;
    shape[dim] = end - begin;
    return {advanced(begin * strides_[dim]), shape, strides_};
  }

  /// The same elements with two dimensions exchanged; by default the last two.
  /// Errors: InvalidArgument for a dimension that is not there.
  TensorView transpose(size_t a = Rank - 2, size_t b = Rank - 1) const requires(Rank >= 2) {
    check_dim(a);
    check_dim(b);
    TensorView view = *this;
    std::swap(view.shape_[a], view.shape_[b]);
    std::swap(view.strides_[a], view.strides_[b]);
    return view;
  }

  /// The same elements with dimension order[0] first, order[1] second, ...
  /// Errors: InvalidArgument unless order holds every dimension once.
  TensorView permute(const std::array<size_t, Rank>& order) const {
    TensorView view = *this;
    std::array<bool, Rank> seen{};
    for (size_t dim = 0; dim < Rank; ++dim) {
      check_dim(order[dim]);
      if (seen[order[dim]])
        detail::throw_invalid("permute: dimension " + std::to_string(order[dim]) +
                              " occurs twice in an order of " + std::to_string(Rank));
      seen[order[dim]] = true;
      view.shape_[dim] = shape_[order[dim]];
      view.strides_[dim] = strides_[order[dim]];
    }
    return view;
  }

  /// The same elements in row-major order under another shape: t.reshape({6, 2}).
  /// Errors: InvalidArgument if the view is not contiguous or the sizes differ.
  template <size_t NewRank>
  TensorView<T, NewRank> reshape(const int64_t (&extents)[NewRank]) const {
    Shape<NewRank> shape;
    for (size_t dim = 0; dim < NewRank; ++dim) shape[dim] = extents[dim];
    require_contiguous("reshape");
    TensorView<T, NewRank> view(data_, shape);
    if (view.size() != size_)
      detail::throw_invalid("reshape: " + detail::to_text(shape_) + " has " +
                            std::to_string(size_) + " elements, " + detail::to_text(shape) +
                            " has " + std::to_string(view.size()));
    return view;
  }

  /// True if the elements lie in row-major order without gaps.
  bool is_contiguous() const {
    int64_t stride = 1;
    for (size_t dim = Rank; dim-- > 0 && size_ > 0;) {
      if (shape_[dim] != 1 && strides_[dim] != stride) return false;
      stride *= shape_[dim];
    }
    return true;
  }

  /// All elements in row-major order. Errors: InvalidArgument if the view is not contiguous.
  std::span<T> elements() const {
    require_contiguous("elements");
    return {data_, static_cast<size_t>(size_)};
  }

  void fill(const Element& value) const requires(!std::is_const_v<T>) {
    for (int64_t i = 0; i < shape_[0]; ++i) {
      if constexpr (Rank == 1)
        (*this)(i) = value;
      else
        row(i).fill(value);
    }
  }

  /// Writes source's elements into this view. The two must not overlap.
  /// Errors: InvalidArgument if the shapes differ.
  void copy_from(TensorView<const Element, Rank> source) const requires(!std::is_const_v<T>) {
    if (source.shape() != shape_)
      detail::throw_invalid("copy_from: source is " + detail::to_text(source.shape()) +
                            ", destination is " + detail::to_text(shape_));
    for (int64_t i = 0; i < shape_[0]; ++i) {
      if constexpr (Rank == 1)
        (*this)(i) = source(i);
      else
        row(i).copy_from(source.row(i));
    }
  }

  /// A contiguous copy that owns its memory. Errors: OutOfMemory.
  Tensor<Element, Rank> clone() const {
    Tensor<Element, Rank> copy(shape_);
    copy.view().copy_from(*this);
    return copy;
  }

 private:
  /// data + offset, unless there is no element to point to.
  T* advanced(int64_t offset) const { return size_ > 0 ? data_ + offset : data_; }

  void check_dim(size_t dim) const {
    if (dim >= Rank)
      detail::throw_invalid("dimension " + std::to_string(dim) + " of a tensor of rank " +
                            std::to_string(Rank));
  }

  void check_index(size_t dim, int64_t index) const {
    if (index < 0 || index >= shape_[dim])
      detail::throw_invalid("index " + std::to_string(index) + " in dimension " +
                            std::to_string(dim) + ", whose extent is " +
                            std::to_string(shape_[dim]));
  }

  void require_contiguous(const char* what) const {
    if (!is_contiguous())
      detail::throw_invalid(std::string(what) + ": shape " + detail::to_text(shape_) +
                            " with strides " + detail::to_text(strides_) + " is not contiguous");
  }

  /// The offset of the last element, in bytes, must be representable.
  void check_reach() const {
    int64_t last = 1;  // elements up to and including the last
    bool fits = true;
    for (size_t dim = 0; dim < Rank; ++dim) {
      if (strides_[dim] < 0)
        detail::throw_invalid("strides " + detail::to_text(strides_) + ": stride " +
                              std::to_string(dim) + " is " + std::to_string(strides_[dim]) +
                              ", expected at least 0");
      int64_t reach = 0;
      if (size_ > 0)
        fits = fits && !__builtin_mul_overflow(shape_[dim] - 1, strides_[dim], &reach) &&
               !__builtin_add_overflow(last, reach, &last);
    }
    int64_t bytes;
    if (!fits || __builtin_mul_overflow(last, static_cast<int64_t>(sizeof(T)), &bytes))
      detail::throw_invalid("shape " + detail::to_text(shape_) + " with strides " +
                            detail::to_text(strides_) + " of " + std::to_string(sizeof(T)) +
                            "-byte elements spans more than " + std::to_string(INT64_MAX) +
                            " bytes");
  }

  T* data_ = nullptr;
  Shape<Rank> shape_{};
  Shape<Rank> strides_ = detail::row_major_strides(Shape<Rank>{});
  int64_t size_ = 0;
};

/// A row-major tensor that owns its memory, on a 64-byte boundary, zeros at first. Moving leaves
/// an empty tensor behind; copying is clone(). Slices and the like come from its view().
template <class T, size_t Rank>
class Tensor {
  static_assert(std::is_trivially_copyable_v<T> && !std::is_const_v<T>);

 public:
  static constexpr size_t alignment = 64;

  /// Empty: every extent 0.
  Tensor() = default;

  /// Errors: InvalidArgument if an extent is negative or the size overflows; OutOfMemory naming
  /// the elements and bytes asked for.
  explicit Tensor(const Shape<Rank>& shape) : view_(nullptr, shape) {
    if (size() > 0) view_ = {allocate(shape, size()), shape};
  }

  Tensor(Tensor&& other) noexcept : view_(other.view_) { other.view_ = {}; }
  Tensor& operator=(Tensor&& other) noexcept {
    std::swap(view_, other.view_);
    return *this;
  }
  ~Tensor() {
    if (view_.data()) ::operator delete (view_.data(), std::align_val_t{alignment});
  }

  TensorView<T, Rank> view() { return view_; }
  TensorView<const T, Rank> view() const { return view_; }
  operator TensorView<T, Rank>() { return view_; }              // NOLINT: implicit on purpose
  operator TensorView<const T, Rank>() const { return view_; }  // NOLINT

  T* data() { return view_.data(); }
  const T* data() const { return view_.data(); }
  const Shape<Rank>& shape() const { return view_.shape(); }
  const Shape<Rank>& strides() const { return view_.strides(); }
  int64_t size() const { return view_.size(); }

  /// As the functions of TensorView.
  template <class... Index>
  T& operator()(Index... index) {
    return view_(index...);
  }
  template <class... Index>
  const T& operator()(Index... index) const {
    return view_(index...);
  }
  template <class... Index>
  T& at(Index... index) {
    return view_.at(index...);
  }
  template <class... Index>
  const T& at(Index... index) const {
    return view_.at(index...);
  }
  auto row(int64_t i) { return view().row(i); }
  auto row(int64_t i) const { return view().row(i); }
  std::span<T> elements() { return view().elements(); }
  std::span<const T> elements() const { return view().elements(); }
  void fill(const T& value) { view_.fill(value); }
  Tensor clone() const { return view_.clone(); }

 private:
  static T* allocate(const Shape<Rank>& shape, int64_t size) {
    const size_t bytes = static_cast<size_t>(size) * sizeof(T);
    void* memory = ::operator new (bytes, std::align_val_t{alignment}, std::nothrow);
    if (!memory)
      throw Error(ErrorCode::OutOfMemory, "tensor " + detail::to_text(shape) + ": cannot get " +
                                              std::to_string(bytes) + " bytes for " +
                                              std::to_string(size) + " elements");
    T* data = static_cast<T*>(memory);
    for (int64_t i = 0; i < size; ++i) new (data + i) T{};
    return data;
  }

  TensorView<T, Rank> view_;
};

}  // namespace octet

#include <doctest/doctest.h>
#include <octet/tensor.h>

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "tests/tensor/support.h"

using namespace octet;
using namespace octet::testing;

namespace {

/// t(i, j, k) = 100 i + 10 j + k
Tensor<int32_t, 3> numbered(int64_t a, int64_t b, int64_t c) {
  Tensor<int32_t, 3> t({a, b, c});
  for (int64_t i = 0; i < a; ++i)
    for (int64_t j = 0; j < b; ++j)
      for (int64_t k = 0; k < c; ++k) t(i, j, k) = static_cast<int32_t>(100 * i + 10 * j + k);
  return t;
}

int64_t sum(TensorView<const int32_t, 2> view) {
  int64_t total = 0;
  for (int64_t i = 0; i < view.shape()[0]; ++i)
    for (int64_t j = 0; j < view.shape()[1]; ++j) total += view(i, j);
  return total;
}

}  // namespace

TEST_CASE("a tensor is row-major, aligned to 64 bytes and zero at first") {
  for (int64_t n : {1, 3, 1000}) {
    Tensor<float, 2> t({n, 7});
    CHECK(t.size() == 7 * n);
    CHECK(t.strides() == Shape<2>{7, 1});
    CHECK(reinterpret_cast<uintptr_t>(t.data()) % 64 == 0);
    for (float value : t.elements()) CHECK(value == 0.0f);
    t(n - 1, 6) = 5;
    CHECK(t.data()[7 * n - 1] == 5);
  }
  Tensor<double, 1> one({4});
  CHECK(one.size() == 4);
}

TEST_CASE("empty tensors have no elements") {
  const Tensor<float, 2> none;
  CHECK(none.size() == 0);
  CHECK(none.data() == nullptr);
  CHECK(none.elements().empty());
  const Tensor<float, 3> zero({3, 0, int64_t{1} << 62});
  CHECK(zero.size() == 0);
  CHECK(zero.view().row(2).size() == 0);
  CHECK(zero.clone().shape() == zero.shape());
  CHECK(zero.view().slice(0, 1, 3).is_contiguous());
}

TEST_CASE("moving leaves an empty tensor, copying is explicit") {
  static_assert(!std::is_copy_constructible_v<Tensor<float, 2>>);
  static_assert(!std::is_copy_assignable_v<Tensor<float, 2>>);
  static_assert(std::is_nothrow_move_constructible_v<Tensor<float, 2>>);
  auto a = numbered(2, 3, 4);
  const int32_t* data = a.data();
  auto b = std::move(a);
  CHECK(b.data() == data);
  CHECK(a.size() == 0);  // NOLINT: its state after the move is what is tested
  Tensor<int32_t, 3> c;
  c = std::move(b);
  CHECK(c(1, 2, 3) == 123);
  auto d = c.clone();
  d(1, 2, 3) = 0;
  CHECK(c(1, 2, 3) == 123);
  CHECK(d.data() != c.data());
}

TEST_CASE("views convert to views of constants, never back") {
  static_assert(std::is_convertible_v<TensorView<float, 2>, TensorView<const float, 2>>);
  static_assert(!std::is_convertible_v<TensorView<const float, 2>, TensorView<float, 2>>);
  static_assert(!std::is_convertible_v<const Tensor<float, 2>&, TensorView<float, 2>>);
  static_assert(
      std::is_same_v<decltype(std::declval<const Tensor<float, 2>&>()(0, 0)), const float&>);
  Tensor<int32_t, 2> t({2, 3});
  t.fill(2);
  const Tensor<int32_t, 2>& constant = t;
  CHECK(sum(t) == 12);
  CHECK(sum(constant) == 12);
  CHECK(sum(t.view()) == 12);
  TensorView<const int32_t, 2> direct(t);
  CHECK(sum(direct) == 12);
}

TEST_CASE("row, slice, transpose and permute address the right elements") {
  const auto t = numbered(4, 3, 5);
  CHECK(t.row(2).row(1)(4) == 214);
  const auto slice = t.view().slice(0, 1, 3).slice(2, 2, 5);
  CHECK(slice.shape() == Shape<3>{2, 3, 3});
  CHECK(slice(1, 2, 0) == 222);
  CHECK_FALSE(slice.is_contiguous());
  CHECK(t.view().slice(0, 1, 3).is_contiguous());
  CHECK(t.view().transpose()(1, 4, 2) == 124);
  CHECK(t.view().transpose(0, 2)(4, 2, 1) == 124);
  const auto permuted = t.view().permute({2, 0, 1});
  CHECK(permuted.shape() == Shape<3>{5, 4, 3});
  CHECK(permuted(3, 2, 1) == 213);
  const auto copy = permuted.clone();
  CHECK(copy.view().is_contiguous());
  CHECK(copy(3, 2, 1) == 213);
  CHECK(copy.shape() == permuted.shape());
}

TEST_CASE("contiguity ignores the strides of extents of one") {
  int32_t data[8] = {};
  CHECK(TensorView<int32_t, 3>(data, {4, 1, 2}, {2, 99, 1}).is_contiguous());
  CHECK_FALSE(TensorView<int32_t, 2>(data, {2, 2}, {4, 1}).is_contiguous());
  CHECK(numbered(1, 3, 2).view().transpose(0, 1).is_contiguous());
}

TEST_CASE("reshape keeps the order of the elements") {
  auto t = numbered(2, 3, 4);
  const auto flat = t.view().reshape({6, 4});
  CHECK(flat(5, 3) == 123);
  CHECK(flat(4, 0) == 110);
  CHECK(t.view().reshape({24})(13) == 101);
  const std::string size = invalid([&] { t.view().reshape({5, 5}); });
  CHECK(contains(size, "24"));
  CHECK(contains(size, "25"));
  CHECK(contains(invalid([&] { t.view().transpose().reshape({24}); }), "contiguous"));
  CHECK(contains(invalid([&] { t.view().slice(2, 0, 2).elements(); }), "contiguous"));
}

TEST_CASE("fill and copy_from respect strides") {
  auto t = numbered(2, 3, 4);
  t.view().slice(2, 1, 3).slice(1, 1, 2).fill(-1);
  CHECK(t(0, 1, 1) == -1);
  CHECK(t(1, 1, 2) == -1);
  CHECK(t(1, 1, 3) == 113);
  CHECK(t(0, 0, 1) == 1);
  const auto source = numbered(2, 4, 3);
  t.view().copy_from(source.view().transpose());
  CHECK(t(1, 2, 3) == 132);
  const std::string message = invalid([&] { t.view().copy_from(source); });
  CHECK(contains(message, "[2, 4, 3]"));
  CHECK(contains(message, "[2, 3, 4]"));
}

TEST_CASE("at, row and slice check their indices") {
  auto t = numbered(2, 3, 4);
  CHECK(t.at(1, 2, 3) == 123);
  t.at(0, 0, 0) = 7;
  CHECK(t(0, 0, 0) == 7);
  const std::string message = invalid([&] { t.at(1, 3, 0); });
  CHECK(contains(message, "index 3"));
  CHECK(contains(message, "extent is 3"));
  CHECK(contains(invalid([&] { t.at(-1, 0, 0); }), "index -1"));
  invalid([&] { t.row(2); });
  invalid([&] { t.row(-1); });
  invalid([&] { t.view().slice(1, 2, 4); });
  invalid([&] { t.view().slice(1, 2, 1); });
  invalid([&] { t.view().slice(1, -1, 1); });
  invalid([&] { t.view().slice(3, 0, 0); });
  invalid([&] { t.view().transpose(0, 3); });
  invalid([&] { t.view().permute({0, 1, 1}); });
  CHECK(t.view().slice(1, 3, 3).size() == 0);
}

TEST_CASE("shapes and strides that cannot be are errors with the numbers in them") {
  const std::string negative = invalid([] { Tensor<float, 2>({4, -3}); });
  CHECK(contains(negative, "[4, -3]"));
  const std::string overflow = invalid([] { Tensor<float, 2>({int64_t{1} << 40, 1 << 22}); });
  CHECK(contains(overflow, "[1099511627776, 4194304]"));
  CHECK(contains(overflow, "9223372036854775807"));
  int8_t byte = 0;
  invalid([&] { TensorView<int8_t, 2>(&byte, {1, 1}, {-1, 1}); });
  invalid([&] { TensorView<int8_t, 2>(&byte, {3, 3}, {INT64_MAX, 1}); });
  invalid([&] { TensorView<int8_t, 2>(&byte, {2, 2}, {INT64_MAX - 1, 1}); });
  invalid([&] { TensorView<int8_t, 1>(&byte, {-1}); });
}

TEST_CASE("memory that is not there is an error with both numbers") {
  // Under AddressSanitizer, operator new reports instead of returning null.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  const std::string message = error_of(ErrorCode::OutOfMemory, [] {
    Tensor<float, 2>({int64_t{1} << 30, 1 << 28});
  });
  CHECK(contains(message, std::to_string(int64_t{1} << 60)));
  CHECK(contains(message, std::to_string(int64_t{1} << 58)));
#endif
}

#pragma once
// What the tests of tensors and of their operations share.
#include <doctest/doctest.h>
#include <octet/tensor.h>

#include <random>
#include <string>
#include <utility>

namespace octet::testing {

/// The message of the Error that `call` throws, which has this code.
template <class Call>
std::string error_of(ErrorCode code, Call call) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  FAIL("no error");
  return {};
}

template <class Call>
std::string invalid(Call call) {
  return error_of(ErrorCode::InvalidArgument, call);
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Values of a normal distribution.
class Random {
 public:
  float operator()() { return distribution_(generator_); }
  template <size_t Rank>
  Tensor<float, Rank> tensor(const Shape<Rank>& shape) {
    Tensor<float, Rank> t(shape);
    for (float& value : t.elements()) value = (*this)();
    return t;
  }

 private:
  std::mt19937 generator_{11};
  std::normal_distribution<float> distribution_;
};

/// An output whose rows lie further apart than their length, with canaries between them.
template <class T = float>
class Strided {
 public:
  Strided(int64_t rows, int64_t cols, int64_t gap = 3) : memory_({rows, cols + gap}), cols_(cols) {
    memory_.fill(T{77});
  }
  TensorView<T, 2> view() { return memory_.view().slice(1, 0, cols_); }
  operator TensorView<T, 2>() { return view(); }        // NOLINT: implicit on purpose
  operator TensorView<const T, 2>() { return view(); }  // NOLINT
  bool gaps_untouched() {
    for (int64_t row = 0; row < memory_.shape()[0]; ++row)
      for (int64_t col = cols_; col < memory_.shape()[1]; ++col)
        if (memory_(row, col) != T{77}) return false;
    return true;
  }

 private:
  Tensor<T, 2> memory_;
  int64_t cols_;
};

}  // namespace octet::testing

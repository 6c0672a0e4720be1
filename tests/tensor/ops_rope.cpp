// rope_table and rope against their formulas in double.
#include <octet/ops.h>

#include <cmath>

#include "tests/tensor/support.h"

using namespace octet;
using namespace octet::testing;

TEST_CASE("rope_table gives cos and sin of position times frequency") {
  const int64_t at[] = {0, 1, 2, 77, 4095, 131071, -3};
  const TensorView<const int64_t, 1> positions(at, {7});
  for (double theta : {10000.0, 1000000.0, 0.5})
    for (int64_t half : {0, 1, 3, 32, 64}) {
      Strided cos(7, half), sin(7, half);
      ops::rope_table(positions, theta, cos, sin);
      for (int64_t token = 0; token < 7; ++token)
        for (int64_t i = 0; i < half; ++i) {
          const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(2 * half);
          const auto frequency = static_cast<float>(std::pow(theta, exponent));
          const float angle = static_cast<float>(at[token]) * frequency;
          CAPTURE(token);
          CAPTURE(i);
          CHECK(std::abs(cos.view()(token, i) - std::cos(double{angle})) <= 6e-8);
          CHECK(std::abs(sin.view()(token, i) - std::sin(double{angle})) <= 6e-8);
        }
      CHECK(cos.gaps_untouched());
      CHECK(sin.gaps_untouched());
    }
}

TEST_CASE("rope rotates each pair of every head") {
  Random random;
  for (int64_t tokens : {0, 1, 5})
    for (int64_t heads : {0, 1, 3})
      for (int64_t half : {0, 1, 3, 8, 32, 37, 64}) {
        const int64_t d = 2 * half;
        const auto cos = random.tensor<2>({tokens, half}), sin = random.tensor<2>({tokens, half});
        // The first heads of a wider product, as q is within q, k and v.
        auto memory = random.tensor<3>({tokens, heads + 2, d});
        const auto before = memory.clone();
        ops::rope(cos, sin, memory.view().slice(1, 0, heads));
        int64_t wrong = 0;
        for (int64_t t = 0; t < tokens; ++t)
          for (int64_t h = 0; h < heads + 2; ++h)
            for (int64_t i = 0; i < half; ++i) {
              const double a = before(t, h, i), b = before(t, h, i + half);
              const bool rotated = h < heads;
              const double c = rotated ? cos(t, i) : 1, s = rotated ? sin(t, i) : 0;
              const double bound = (std::abs(a) + std::abs(b)) * (std::abs(c) + std::abs(s));
              const double limit = rotated ? std::ldexp(bound, -23) : 0;
              if (std::abs(memory(t, h, i) - (a * c - b * s)) > limit) ++wrong;
              if (std::abs(memory(t, h, i + half) - (b * c + a * s)) > limit) ++wrong;
            }
        CHECK(wrong == 0);
      }
}

TEST_CASE("rope takes heads outermost") {
  Random random;
  auto heads_first = random.tensor<3>({4, 6, 10});
  auto tokens_first = heads_first.view().transpose(0, 1).clone();
  const auto cos = random.tensor<2>({6, 5}), sin = random.tensor<2>({6, 5});
  ops::rope(cos, sin, heads_first.view().transpose(0, 1));
  ops::rope(cos, sin, tokens_first);
  int64_t different = 0;
  for (int64_t t = 0; t < 6; ++t)
    for (int64_t h = 0; h < 4; ++h)
      for (int64_t i = 0; i < 10; ++i)
        if (heads_first(h, t, i) != tokens_first(t, h, i)) ++different;
  CHECK(different == 0);
}

TEST_CASE("rope_table and rope name what disagrees") {
  Tensor<int64_t, 1> positions({4});
  Tensor<float, 2> cos({4, 3}), sin({4, 3}), narrow({4, 2}), low({3, 3});
  CHECK(invalid([&] { ops::rope_table(positions, 1e4, low, low); }) ==
        "rope_table: dimension 0 of positions [4] is 4, dimension 0 of cos [3, 3] is 3");
  CHECK(invalid([&] { ops::rope_table(positions, 1e4, cos, narrow); }) ==
        "rope_table: dimension 1 of cos [4, 3] is 3, dimension 1 of sin [4, 2] is 2");
  CHECK(contains(invalid([&] { ops::rope_table(positions, 1e4, cos, cos); }), "overlaps sin"));
  for (double theta : {0.0, -1.0, std::nan("")})
    CHECK(contains(invalid([&] { ops::rope_table(positions, theta, cos, sin); }), "theta is"));

  Tensor<float, 3> x({4, 2, 6}), odd({4, 2, 7}), wide({4, 2, 8});
  CHECK(invalid([&] { ops::rope(cos, sin, odd); }) ==
        "rope: dimension 2 of x [4, 2, 7] is 7, expected an even number");
  CHECK(invalid([&] { ops::rope(cos, sin, wide); }) ==
        "rope: dimension 1 of cos [4, 3] is 3, expected 4, half of dimension 2 of x");
  CHECK(invalid([&] { ops::rope(low, low, x); }) ==
        "rope: dimension 0 of x [4, 2, 6] is 4, dimension 0 of cos [3, 3] is 3");
  CHECK(invalid([&] { ops::rope(cos, narrow, x); }) ==
        "rope: dimension 1 of cos [4, 3] is 3, dimension 1 of sin [4, 2] is 2");
  const TensorView<float, 2> inside(x.data(), {4, 3});
  CHECK(contains(invalid([&] { ops::rope(cos, inside, x); }), "overlaps sin"));
  const TensorView<float, 3> shared(x.data(), {4, 2, 6}, {6, 6, 1});
  CHECK(contains(invalid([&] { ops::rope(cos, sin, shared); }), "share memory"));
}

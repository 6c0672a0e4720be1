// attention against the formula in double.
#include <octet/ops.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/tensor/support.h"

using namespace octet;
using namespace octet::testing;

namespace {

using Heads = TensorView<const float, 3>;

/// The largest |y - exact| over the largest |v|.
double largest_error(Heads q, Heads k, Heads v, double scale, Heads y) {
  const auto& [tokens, heads, d] = q.shape();
  const int64_t positions = k.shape()[0], group = heads / std::max<int64_t>(1, k.shape()[1]);
  double largest = 0, magnitude = 1e-30;
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t seen = positions - tokens + t + 1;
      std::vector<double> weight(static_cast<size_t>(seen));
      double sum = 0, max = -INFINITY;
      for (int64_t j = 0; j < seen; ++j) {
        double score = 0;
        for (int64_t i = 0; i < d; ++i) score += double{q(t, h, i)} * k(j, h / group, i);
        weight[static_cast<size_t>(j)] = score * scale;
        max = std::max(max, score * scale);
      }
      for (double& w : weight) sum += w = std::exp(w - max);
      for (int64_t i = 0; i < d; ++i) {
        double exact = 0;
        for (int64_t j = 0; j < seen; ++j) {
          exact += weight[static_cast<size_t>(j)] / sum * v(j, h / group, i);
          magnitude = std::max(magnitude, std::abs(double{v(j, h / group, i)}));
        }
        const double error = std::abs(y(t, h, i) - exact);
        largest = error <= largest ? largest : error;  // keeps a NaN
      }
    }
  return largest / magnitude;
}

}  // namespace

TEST_CASE("attention is the causal softmax of q k times v") {
  Random random;
  const Shape<2> cuts[] = {{0, 0},   {0, 5},   {1, 1},   {1, 64}, {1, 65},   {1, 300},  {2, 2},
                           {63, 63}, {64, 64}, {65, 65}, {3, 67}, {70, 200}, {130, 130}};
  for (const Shape<2>& cut : cuts)
    for (const Shape<2>& all_heads : {Shape<2>{1, 1}, Shape<2>{6, 2}, Shape<2>{3, 3}})
      for (int64_t d : {1, 5, 16, 64}) {
        const int64_t tokens = cut[0], positions = cut[1];
        const int64_t heads = all_heads[0], kv_heads = all_heads[1];
        CAPTURE(tokens);
        CAPTURE(positions);
        CAPTURE(heads);
        CAPTURE(d);
        const auto q = random.tensor<3>({tokens, heads, d});
        const auto k = random.tensor<3>({positions, kv_heads, d});
        const auto v = random.tensor<3>({positions, kv_heads, d});
        Tensor<float, 3> y({tokens, heads, d});
        ops::attention(q, k, v, 0.7f, y);
        CHECK(largest_error(q, k, v, 0.7f, y) < 2e-5);
      }
}

TEST_CASE("attention takes parts of a fused q, k, v, and keys by head") {
  Random random;
  const int64_t d = 32;
  for (int64_t tokens : {1, 7, 150}) {
    const auto fused = random.tensor<3>({tokens, 8, d});
    const Heads q = fused.view().slice(1, 0, 4), k = fused.view().slice(1, 4, 6),
                v = fused.view().slice(1, 6, 8);
    auto memory = random.tensor<3>({tokens, 6, d});
    const auto before = memory.clone();
    const auto y = memory.view().slice(1, 1, 5);
    ops::attention(q, k, v, 0.2f, y);
    CHECK(largest_error(q, k, v, 0.2f, y) < 1e-5);
    int64_t touched = 0;
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t i = 0; i < d; ++i)
        if (memory(t, 0, i) != before(t, 0, i) || memory(t, 5, i) != before(t, 5, i)) ++touched;
    CHECK(touched == 0);

    // A cache: [kv_heads, capacity, d], of which the first positions are filled.
    Tensor<float, 3> keys({2, 160, d}), values({2, 160, d});
    keys.fill(NAN);
    values.fill(NAN);
    keys.view().slice(1, 0, tokens).copy_from(k.transpose(0, 1));
    values.view().slice(1, 0, tokens).copy_from(v.transpose(0, 1));
    Tensor<float, 3> from_cache({tokens, 4, d});
    ops::attention(q, keys.view().slice(1, 0, tokens).transpose(0, 1),
                   values.view().slice(1, 0, tokens).transpose(0, 1), 0.2f, from_cache);
    CHECK(largest_error(q, k, v, 0.2f, from_cache) < 1e-5);
  }
}

TEST_CASE("a query's attention is the same bits whatever the other queries are") {
  Random random;
  const auto q = random.tensor<3>({140, 6, 24});
  const auto k = random.tensor<3>({140, 2, 24}), v = random.tensor<3>({140, 2, 24});
  Tensor<float, 3> all({140, 6, 24}), one({1, 6, 24});
  ops::attention(q, k, v, 0.2f, all);
  for (int64_t t : {0, 1, 63, 64, 65, 100, 139}) {
    ops::attention(q.view().slice(0, t, t + 1), k.view().slice(0, 0, t + 1),
                   v.view().slice(0, 0, t + 1), 0.2f, one);
    const auto alone = one.elements(), together = all.row(t).elements();
    CHECK(std::equal(alone.begin(), alone.end(), together.begin()));
  }
}

TEST_CASE("attention with scores far apart picks the largest") {
  Random random;
  auto q = random.tensor<3>({1, 1, 8});
  auto k = random.tensor<3>({200, 1, 8}), v = random.tensor<3>({200, 1, 8});
  q.fill(1000);
  k.row(137).fill(1000);
  Tensor<float, 3> y({1, 1, 8});
  ops::attention(q, k, v, 1.0f, y);
  for (int64_t i = 0; i < 8; ++i) CHECK(y(0, 0, i) == v(137, 0, i));
}

TEST_CASE("attention names what disagrees") {
  Tensor<float, 3> q({3, 4, 8}), k({5, 2, 8}), y({3, 4, 8});
  const auto message = [&](Heads queries, Heads keys, Heads values, TensorView<float, 3> out) {
    return invalid([&] { ops::attention(queries, keys, values, 1, out); });
  };
  const Tensor<float, 3> narrow({5, 2, 7}), three({5, 3, 8}), none({5, 0, 8}), longer({6, 2, 8}),
      many({9, 4, 8});
  Tensor<float, 3> small({2, 4, 8}), large({9, 4, 8});
  CHECK(message(q, narrow, narrow, y) ==
        "attention: dimension 2 of q [3, 4, 8] is 8, dimension 2 of k [5, 2, 7] is 7");
  CHECK(message(q, k, longer, y) ==
        "attention: dimension 0 of k [5, 2, 8] is 5, dimension 0 of v [6, 2, 8] is 6");
  CHECK(message(q, k, k, small) ==
        "attention: dimension 0 of q [3, 4, 8] is 3, dimension 0 of y [2, 4, 8] is 2");
  CHECK(message(many, k, k, large) ==
        "attention: q [9, 4, 8] has 9 tokens, k [5, 2, 8] only 5 positions");
  CHECK(message(q, three, three, y) ==
        "attention: q [3, 4, 8] has 4 heads, k [5, 3, 8] has 3, of which the former must be a "
        "multiple");
  CHECK(contains(message(q, none, none, y), "k [5, 0, 8] has 0"));
  CHECK(contains(message(q, k, k, q), "overlaps q"));
  CHECK(contains(message(q, y.view().slice(1, 0, 2), k.view().slice(0, 0, 3), y), "overlaps k"));
  CHECK(contains(message(q, k.view().slice(0, 0, 3), y.view().slice(1, 0, 2), y), "overlaps v"));
  const Heads strided(k.data(), {5, 2, 4}, {16, 8, 2});
  const Tensor<float, 3> thin({3, 4, 4});
  Tensor<float, 3> thin_y({3, 4, 4});
  CHECK(contains(message(thin, strided, strided, thin_y), "k [5, 2, 4] has strides [16, 8, 2]"));
}

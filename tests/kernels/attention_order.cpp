// Attention gives the bits of the order in kernels/types.h, on every instruction set but ref, which
// has the C library's exponential.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "tests/kernels/attention_cache.h"
#include "tests/kernels/float_order.h"

using namespace octet::kernels;

namespace {

using Values = std::vector<float>;

/// One row of queries over a cache, a span of positions at a time.
class OrderedAttention {
 public:
  OrderedAttention(const Cache& cache, Type type, const float* q, float scale)
      : cache_(cache), d_(static_cast<size_t>(cache.d)), type_(type), q_(q, q + d_), scale_(scale) {
    if (!has_integers(type)) return;
    query_.emplace_back(q, 1, cache.d, type);
    keys_.emplace_back(cache.keys.data(), cache.length, cache.d, type);
    values_.emplace_back(cache.values.data(), cache.length, cache.d, type);
  }

  Values operator()(size_t length) const {
    Values out(d_, 0.0f);
    float max = -INFINITY, sum = 0;
    for (size_t first = 0; first < length; first += kv_span) {
      const size_t count = std::min<size_t>(kv_span, length - first);
      Values weights = scores(first, count);
      const float span_max = *std::max_element(weights.begin(), weights.end());
      for (float& weight : weights) weight = exp_in_order(weight - span_max);
      const float new_max = std::max(max, span_max);
      const float old = max == new_max ? 1.0f : exp_in_order(max - new_max);
      const float added = span_max == new_max ? 1.0f : exp_in_order(span_max - new_max);
      const float span_sum = lane_sum(weights.data(), static_cast<int64_t>(count));
      sum = sum * old + span_sum * added;
      const Values span_out =
          has_integers(type_) ? integer_sums(first, weights) : sums(first, weights);
      for (size_t i = 0; i < d_; ++i) out[i] = std::fma(span_out[i], added, out[i] * old);
      max = new_max;
    }
    const float inverse = 1.0f / sum;
    for (float& value : out) value *= inverse;
    return out;
  }

 private:
  Values scores(size_t first, size_t count) const {
    Values scores;
    for (size_t j = first; j < first + count; ++j) {
      if (has_integers(type_)) {
        const size_t part = type_ == Type::s8 ? d_ : kv_s16_part;
        float product = 0;
        for (size_t begin = 0; begin < d_; begin += part) {
          int32_t sum = 0;
          for (size_t i = begin; i < std::min(d_, begin + part); ++i)
            sum += query_[0].q[i] * keys_[0].q[j * d_ + i];
          product += static_cast<float>(sum);
        }
        const float scale = keys_[0].scales[j] * (query_[0].scales[0] * scale_);
        scores.push_back(product * scale);
      } else {
        float sum = 0;
        for (size_t i = 0; i < d_; ++i) sum = std::fma(q_[i], cache_.keys[j * d_ + i], sum);
        scores.push_back(sum * scale_);
      }
    }
    return scores;
  }

  Values sums(size_t first, const Values& weights) const {
    Values out(d_, 0.0f);
    for (size_t i = 0; i < d_; ++i)
      for (size_t j = 0; j < weights.size(); ++j)
        out[i] = std::fma(weights[j], cache_.values[(first + j) * d_ + i], out[i]);
    return out;
  }

  Values integer_sums(size_t first, const Values& weights) const {
    const float levels = type_ == Type::s8 ? 255.0f : 4095.0f;
    Values out(d_, 0.0f);
    for (size_t begin = 0; begin < weights.size(); begin += kv_block) {
      const size_t count = std::min<size_t>(kv_block, weights.size() - begin);
      Values product;
      for (size_t j = begin; j < begin + count; ++j)
        product.push_back(weights[j] * values_[0].scales[first + j]);
      const float largest = *std::max_element(product.begin(), product.end());
      const float inverse = levels / largest;
      if (std::isinf(inverse)) continue;
      for (size_t i = 0; i < d_; ++i) {
        int32_t sum = 0;
        for (size_t j = 0; j < count; ++j)
          sum += static_cast<int32_t>(std::rint(product[j] * inverse)) *
                 values_[0].q[(first + begin + j) * d_ + i];
        out[i] = std::fma(static_cast<float>(sum), largest / levels, out[i]);
      }
    }
    return out;
  }

  const Cache& cache_;
  size_t d_;
  Type type_;
  Values q_;
  float scale_;
  std::vector<Quantized> query_, keys_, values_;  // empty, or one for the whole cache
};

}  // namespace

TEST_CASE("attention is computed in one order: every instruction set gives the same bits") {
  for (int64_t head_dim : {32, 64, 80, 128, 200})
    for (int64_t longest : {1, 63, 64, 65, 511, 513, 1300}) {
      const Cache cache(longest, head_dim, 7);
      const std::vector<int64_t> lengths = {longest, longest / 2 + 1};
      const std::vector<float> q = some_queries(2 * head_dim);
      const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
      for (const Op& op : ops) {
        std::vector<Values> expected;
        for (int64_t row = 0; row < 2; ++row)
          expected.push_back(OrderedAttention(cache, op.type, q.data() + row * head_dim,
                                              scale)(static_cast<size_t>(lengths[row])));
        for (const auto& kernel : runnable_rows<AttentionFunction>(op.name)) {
          if (kernel.isa == Isa::ref) continue;
          const auto got = run(kernel, op.type, cache, q, lengths, 0, 2, scale);
          for (int64_t row = 0; row < 2; ++row)
            CHECK_MESSAGE(std::memcmp(got.data() + row * (head_dim + 1), expected[row].data(),
                                      static_cast<size_t>(head_dim) * sizeof(float)) == 0,
                          kernel.name << ", head_dim " << head_dim << ", length " << lengths[row]);
        }
      }
    }
}

// KV caches of integers against the fp32 one, in the f32 scheme: what the cache alone costs.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "lib/model/model_impl.h"
#include "support/evaluate.h"
#include "support/fixtures.h"

using namespace octet;
using namespace octet::testing;

namespace {

const char* const models[] = {"tiny-qwen2", "tiny-qwen2-distill", "tiny-llama", "tiny-qwen3",
                              "tiny-qwen2-yarn"};

Model open_f32(const char* name, KvCacheType kv_cache) {
  return open_model(fixture(name), Scheme::f32, 2, 256, kv_cache);
}

std::vector<float> logits(const Model& model) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 150; ++i)
    ids.push_back((i * i * 31 + i * 7) % static_cast<int32_t>(model.config().vocab_size));
  Session session(model, {.context = 256});
  return all_logits(session, ids, 64);
}

/// The root mean square of a - b over that of b.
double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double error = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    size += double{b[i]} * b[i];
  }
  return std::sqrt(error / size);
}

/// Multiplies dimension 3 and its partner under RoPE by `factor`, in each of `heads` heads of a
/// linear's output. Keeps the new weights.
class Scaled {
 public:
  Scaled(Linear& linear, int64_t heads, int64_t head_dim, float factor) {
    const int64_t k = linear.weight.k;
    const auto* data = static_cast<const float*>(linear.weight.data);
    weight_.assign(data, data + linear.weight.n * k);
    if (linear.bias) bias_.assign(linear.bias, linear.bias + linear.weight.n);
    for (int64_t head = 0; head < heads; ++head)
      for (int64_t row : {head * head_dim + 3, head * head_dim + 3 + head_dim / 2}) {
        for (int64_t i = 0; i < k; ++i) weight_[static_cast<size_t>(row * k + i)] *= factor;
        if (linear.bias) bias_[static_cast<size_t>(row)] *= factor;
      }
    linear.weight.data = weight_.data();
    if (linear.bias) linear.bias = bias_.data();
  }

 private:
  std::vector<float> weight_, bias_;
};

}  // namespace

TEST_CASE("a cache of integers changes the logits little") {
  for (const char* name : models) {
    CAPTURE(name);
    const std::vector<float> reference = logits(open_f32(name, KvCacheType::f16));
    const double int8 = relative_error(logits(open_f32(name, KvCacheType::int8)), reference),
                 int16 = relative_error(logits(open_f32(name, KvCacheType::int16)), reference);
    CAPTURE(int8);
    CAPTURE(int16);
    CHECK(int8 < 0.03);
    CHECK(int8 > 1e-5);  // it is in use
    CHECK(int16 < 1e-3);
    CHECK(int16 > 1e-6);
  }
}

TEST_CASE("outlier dimensions of keys do not cost a cache of integers its accuracy") {
  // Keys 40 times as large in a pair of dimensions, queries a 40th: the same function.
  for (const char* name : {"tiny-qwen2", "tiny-llama"}) {
    CAPTURE(name);
    const std::vector<float> reference = logits(open_f32(name, KvCacheType::f16));
    for (KvCacheType type : {KvCacheType::f16, KvCacheType::int16, KvCacheType::int8}) {
      CAPTURE(to_string(type));
      const Model model = open_f32(name, type);
      const ModelConfig& c = model.config();
      std::vector<Scaled> scaled;
      for (LayerWeights& layer : model.impl()->weights.layers) {
        scaled.emplace_back(layer.q, c.num_heads, c.head_dim, 1 / 40.0f);
        scaled.emplace_back(layer.k, c.num_kv_heads, c.head_dim, 40.0f);
      }
      const double error = relative_error(logits(model), reference);
      CAPTURE(error);
      CHECK(error < (type == KvCacheType::f16 ? 1e-4 : type == KvCacheType::int16 ? 3e-3 : 0.1));
    }
  }
}

TEST_CASE("caches of integers take a scale more than their values, and say what they are") {
  for (Scheme scheme : {Scheme::w8a8, Scheme::f16, Scheme::f32}) {
    const Model half = open_model(fixture("tiny-qwen2"), scheme, 1);
    const Model int8 = open_model(fixture("tiny-qwen2"), scheme, 1, 256, KvCacheType::int8);
    const Model int16 = open_model(fixture("tiny-qwen2"), scheme, 1, 256, KvCacheType::int16);
    const ModelConfig& c = half.config();
    const int64_t rows = 2 * c.num_layers * c.num_kv_heads;  // of a token
    CHECK(half.kv_cache() == (scheme == Scheme::f32 ? KvCacheType::f32 : KvCacheType::f16));
    CHECK(half.kv_bytes_per_token() == rows * c.head_dim * (scheme == Scheme::f32 ? 4 : 2));
    CHECK(int8.kv_cache() == KvCacheType::int8);
    REQUIRE(c.head_dim % 16 == 0);
    CHECK(int8.kv_bytes_per_token() == rows * (c.head_dim + 4));
    CHECK(int16.kv_cache() == KvCacheType::int16);
    CHECK(int16.kv_bytes_per_token() == rows * (2 * c.head_dim + 4));
  }
}

TEST_CASE("other types of KV cache are refused") {
  ModelOptions options;
  options.kv_cache = static_cast<KvCacheType>(99);
  CHECK_THROWS_WITH_AS(Model::open(fixture("tiny-qwen2"), options),
                       "kv_cache: unknown, f16, int16, int8 or f32 expected", Error);
  for (KvCacheType type :
       {KvCacheType::f16, KvCacheType::int16, KvCacheType::int8, KvCacheType::f32})
    CHECK(parse_kv_cache(to_string(type)) == type);
  for (const char* name : {"", "f64", "int4", "INT8", "int8 "})
    CHECK_THROWS_WITH_AS(
        parse_kv_cache(name),
        (std::string("kv-cache '") + name + "': known are f16, int16, int8, f32").c_str(), Error);
}

TEST_CASE("keys and values that are not finite are an error, after which the session goes on") {
  for (KvCacheType type : {KvCacheType::int16, KvCacheType::int8}) {
    const Model model = open_f32("tiny-qwen2", type);
    const std::vector<float> reference = logits(model);
    Session session(model, {.context = 16});
    const std::vector<int32_t> ids = {1, 2, 3};
    const auto evaluate = [&] {
      session.evaluate(ids, Session::Rows::none, [](int64_t, std::span<const float>) {});
    };
    LayerWeights& layer = model.impl()->weights.layers[1];
    for (Linear* linear : {&layer.k, &layer.v}) {
      const float* bias = linear->bias;
      std::vector<float> infinite(bias, bias + linear->weight.n);
      infinite[2] = std::numeric_limits<float>::infinity();
      linear->bias = infinite.data();
      CHECK_THROWS_WITH_AS(evaluate(),
                           "layer 1, keys and values: a value that is not finite (the weights "
                           "overflow fp32, or are damaged)",
                           Error);
      CHECK(session.size() == 0);
      linear->bias = bias;
    }
    evaluate();
    CHECK(session.size() == 3);
    CHECK(logits(model) == reference);
  }
}

// Weights for scaled and rotated inputs: the same function in float, for any scales.
#include "lib/convert/scaled_checkpoint.h"

#include <octet/quant.h>
#include <octet/session.h>

#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "lib/convert/rotated_checkpoint.h"
#include "lib/convert/write_tensors.h"
#include "lib/model/memory_store.h"
#include "lib/model/model_impl.h"
#include "support/evaluate.h"
#include "support/fixtures.h"

using namespace octet;
using namespace octet::testing;

namespace {

/// Random weights of one layer, in the shape of a known model.
class OneLayer : public Checkpoint {
 public:
  OneLayer(int64_t hidden, int64_t heads, int64_t kv_heads, int64_t inner) {
    path_ = "one layer";
    config_.family = "qwen2";
    config_.vocab_size = 64;
    config_.hidden_size = hidden;
    config_.num_layers = 1;
    config_.num_heads = heads;
    config_.num_kv_heads = kv_heads;
    config_.head_dim = 64;
    config_.intermediate_size = inner;
    config_.max_positions = 64;
    config_.qkv_bias = true;
    for (const ModelTensor& tensor : model_tensors(config_))
      tensors_.push_back({tensor.name, "F32", tensor.shape, 0});
  }
  void read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    const CheckpointTensor* tensor = find(name);
    const int64_t k = tensor->shape.back();
    const bool norm = name.find("norm") != std::string_view::npos;
    const float size = tensor->shape.size() == 2 ? 1.5f / std::sqrt(static_cast<float>(k)) : 0.3f;
    for (int64_t row = begin; row < end; ++row) {
      std::mt19937 generator(static_cast<uint32_t>(row + 1000 * (tensor - tensors_.data())));
      for (int64_t i = 0; i < k; ++i)
        *out++ = (norm ? 1.0f : 0.0f) +
                 size * (static_cast<float>(generator() % 20001) / 10000.0f - 1.0f);
    }
  }
};

/// e^-1 to e.
std::vector<float> random_scale(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<float> scale;
  for (int64_t i = 0; i < count; ++i)
    scale.push_back(std::exp(static_cast<float>(generator() % 2001) / 1000.0f - 1.0f));
  return scale;
}

std::unique_ptr<ScaledCheckpoint> scaled(std::unique_ptr<Checkpoint> source) {
  auto result = std::make_unique<ScaledCheckpoint>(std::move(source));
  const ModelConfig& config = result->config();
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const auto seed = static_cast<uint32_t>(4 * i);
    result->set_layer(i, {random_scale(config.hidden_size, seed),
                          random_scale(config.num_kv_heads * config.head_dim, seed + 1),
                          random_scale(config.hidden_size, seed + 2),
                          random_scale(config.intermediate_size, seed + 3)});
  }
  result->set_head(random_scale(config.hidden_size, 99));
  return result;
}

/// Logits of a checkpoint's weights in fp32.
std::vector<float> logits_of(const Checkpoint& checkpoint, const RotationSizes& sizes) {
  const std::vector<ModelTensor> tensors = model_tensors(checkpoint.config());
  auto store = std::make_unique<MemoryStore>(stored_tensors(tensors, Scheme::f32));
  ThreadPool pool(2);
  TensorWriter(checkpoint, tensors, Scheme::f32, *store, pool).write(tensors, {}, nullptr);
  ModelOptions options;
  options.device.kind = Device::Kind::cpu;
  options.threads = 2;
  const Model model =
      make_model(checkpoint.config(), Scheme::f32, sizes, {}, {}, std::move(store), options, {});
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 40; ++i) ids.push_back((i * i * 31 + i * 7) % 60);
  Session session(model, {.context = 64});
  return all_logits(session, ids);
}

}  // namespace

TEST_CASE(
    "in float the scaled and rotated model is the same function, for every shape and family") {
  for (const char* name : {"tiny-qwen2", "tiny-qwen2-tied", "tiny-qwen2-distill", "tiny-llama",
                           "tiny-qwen3", "tiny-qwen2-yarn"}) {
    CAPTURE(name);
    const auto changed = scaled(open_checkpoint(fixture(name)));
    const std::vector<float> plain = logits_of(*open_checkpoint(fixture(name)), {});
    const double difference = max_difference(plain, logits_of(*changed, changed->sizes()));
    MESSAGE(name, ": logits up to ", max_magnitude(plain), " differ by ", difference);
    CHECK(difference <= 1e-4);
    CHECK(difference > 0);  // it is changed at all
    RotationSizes wrong = changed->sizes();
    wrong.norm = 1;
    CHECK(max_difference(plain, logits_of(*changed, wrong)) > 1e-2);
  }
}

TEST_CASE("rotations, folded and scaled, fit the shapes of Qwen2.5-0.5B and SmolLM2") {
  struct Shape {
    int64_t hidden, heads, kv_heads, inner, norm, down;
  };
  for (const Shape& s : {Shape{896, 14, 2, 4864, 128, 256}, Shape{576, 9, 3, 1536, 64, 256}}) {
    CAPTURE(s.hidden);
    const auto source = [&] {
      return std::make_unique<OneLayer>(s.hidden, s.heads, s.kv_heads, s.inner);
    };
    const std::vector<float> plain = logits_of(*source(), {});
    const auto changed = scaled(source());
    CHECK(changed->sizes().norm == s.norm);
    CHECK(changed->sizes().down == s.down);
    CHECK(max_difference(plain, logits_of(*changed, changed->sizes())) <= 1e-4);
    auto original = source();
    const RotationSizes sizes = rotation_sizes(original->config());
    const auto rotated = rotated_checkpoint(std::move(original), sizes);
    CHECK(max_difference(plain, logits_of(*rotated, sizes)) <= 1e-4);
  }
}

TEST_CASE("rows of a scaled tensor do not depend on how they are asked for") {
  const auto changed = scaled(open_checkpoint(fixture("tiny-qwen2")));
  for (const CheckpointTensor& tensor : changed->tensors()) {
    if (tensor.shape.size() != 2) continue;
    CAPTURE(tensor.name);
    const int64_t k = tensor.shape[1], middle = 48, end = 112;  // not where a head begins
    std::vector<float> whole(static_cast<size_t>(end * k)), parts(whole.size());
    changed->read_rows(tensor.name, 0, end, whole.data());
    changed->read_rows(tensor.name, 0, middle, parts.data());
    changed->read_rows(tensor.name, middle, end, parts.data() + middle * k);
    CHECK(whole == parts);
  }
}

#include "lib/convert/random_checkpoint.h"

#include <cmath>

#include "lib/convert/float_tensors.h"
#include "lib/core/error.h"

namespace octet {
namespace {

struct NamedShape {
  const char* name;
  const char* family;
  int64_t hidden, layers, heads, kv_heads, head_dim, intermediate, vocab, positions;
  double theta;
  bool tied;
};

// From the models' config.json on Hugging Face.
constexpr NamedShape named_shapes[] = {
    {"r1-distill-qwen-1.5b", "qwen2", 1536, 28, 12, 2, 128, 8960, 151936, 131072, 1e4, false},
    {"qwen2.5-0.5b", "qwen2", 896, 24, 14, 2, 64, 4864, 151936, 32768, 1e6, true},
    {"qwen2.5-1.5b", "qwen2", 1536, 28, 12, 2, 128, 8960, 151936, 131072, 1e6, true},
    {"qwen1.5-1.8b", "qwen2", 2048, 24, 16, 16, 128, 5504, 151936, 32768, 1e6, false},
    {"smollm2-135m", "llama", 576, 30, 9, 3, 64, 1536, 49152, 8192, 1e5, true},
};

ModelConfig config_of(const NamedShape& shape) {
  ModelConfig config;
  config.family = shape.family;
  config.vocab_size = shape.vocab;
  config.hidden_size = shape.hidden;
  config.num_layers = shape.layers;
  config.num_heads = shape.heads;
  config.num_kv_heads = shape.kv_heads;
  config.head_dim = shape.head_dim;
  config.intermediate_size = shape.intermediate;
  config.max_positions = shape.positions;
  config.rope_theta = shape.theta;
  config.tied_head = shape.tied;
  config.qkv_bias = config.family == "qwen2";
  return config;
}

/// splitmix64 (Steele, Lea & Flood 2014): any place of the sequence without the ones before.
uint64_t mix(uint64_t state) {
  state += 0x9e3779b97f4a7c15u;
  state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9u;
  state = (state ^ (state >> 27)) * 0x94d049bb133111ebu;
  return state ^ (state >> 31);
}

uint64_t hash(std::string_view text) {
  uint64_t state = 0;
  for (char c : text) state = mix(state ^ static_cast<unsigned char>(c));
  return state;
}

/// Uniform in [-1, 1), from 16 bits.
float uniform(uint64_t bits) {
  return static_cast<float>(static_cast<int16_t>(bits & 0xffff)) * (1.0f / 32768.0f);
}

class RandomCheckpoint : public Checkpoint {
 public:
  explicit RandomCheckpoint(const NamedShape& shape) {
    path_ = str("random ", shape.name);
    format_ = "random";
    config_ = config_of(shape);
    tensors_ = float_tensors(config_);
  }

  void read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    const CheckpointTensor* tensor = find(name);
    require(tensor, ErrorCode::Internal, path_, ": no tensor '", name, "'");
    const int64_t k = tensor->shape.back();
    const bool norm = name.ends_with("norm.weight");
    // A uniform value in [-a, a) has variance a^2 / 3: the product keeps the input's size.
    const float amplitude = norm ? 0.1f : std::sqrt(3.0f / static_cast<float>(k));
    const float offset = norm ? 1.0f : 0.0f;
    const uint64_t seed = hash(name);
    for (int64_t row = begin; row < end; ++row)
      for (int64_t i = 0; i < k; i += 4) {
        const uint64_t bits = mix(seed + static_cast<uint64_t>(row * k + i));
        for (int64_t j = i; j < std::min(i + 4, k); ++j)
          *out++ = uniform(bits >> (16 * (j - i))) * amplitude + offset;
      }
  }
};

}  // namespace

std::vector<std::string> shape_names() {
  std::vector<std::string> names;
  for (const NamedShape& shape : named_shapes) names.emplace_back(shape.name);
  return names;
}

std::unique_ptr<Checkpoint> random_checkpoint(std::string_view name) {
  for (const NamedShape& shape : named_shapes)
    if (name == shape.name) return std::make_unique<RandomCheckpoint>(shape);
  std::string known;
  for (const NamedShape& shape : named_shapes) known += std::string(" ") + shape.name;
  fail(ErrorCode::InvalidArgument, "shape '", name, "': known are", known);
}

}  // namespace octet

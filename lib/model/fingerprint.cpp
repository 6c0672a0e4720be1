// What tells one model from another, without reading all of it.
#include <algorithm>
#include <cstddef>

#include "lib/io/checkpoint.h"
#include "lib/model/model_impl.h"

namespace octet {
namespace {

/// FNV-1a, 64 bits.
class Hash {
 public:
  void add(const void* data, size_t bytes) {
    const auto* from = static_cast<const unsigned char*>(data);
    for (size_t i = 0; i < bytes; ++i) value_ = (value_ ^ from[i]) * 0x100000001b3u;
  }
  void add(std::string_view text) { add(text.data(), text.size()); }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325u;
};

/// A matrix's first and last values: a page or two of a mapped file.
void add_sample(const Matrix& matrix, Hash& hash) {
  constexpr int64_t sample = 256;
  const int64_t element = matrix.scheme == Scheme::f32 ? 4 : matrix.scheme == Scheme::f16 ? 2 : 1;
  const int64_t bytes = matrix.n * matrix.k * element;
  const auto* data = static_cast<const std::byte*>(matrix.data);
  hash.add(to_string(matrix.scheme));
  hash.add(data, static_cast<size_t>(std::min(bytes, sample)));
  hash.add(data + std::max<int64_t>(0, bytes - sample),
           static_cast<size_t>(std::min(bytes, sample)));
}

}  // namespace

uint64_t weights_fingerprint(const ModelConfig& config, const Weights& weights) {
  Hash hash;
  hash.add(config_to_json(config));
  add_sample(weights.embedding, hash);
  add_sample(weights.head, hash);
  for (const LayerWeights& layer : weights.layers)
    for (const Linear* linear :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
      add_sample(linear->weight, hash);
      hash.add(&linear->weight.planes, sizeof linear->weight.planes);
    }
  return hash.value();
}

uint64_t fingerprint(ModelImpl& model) {
  Hash hash;
  const uint64_t weights = model.weights_fingerprint
                               ? *model.weights_fingerprint
                               : weights_fingerprint(model.config, model.weights);
  hash.add(&weights, sizeof weights);
  if (model.kv_cache == KvCacheType::int8) hash.add(model.backend->instruction_set());
  return hash.value();
}

}  // namespace octet

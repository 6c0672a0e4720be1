#include <octet/embed.h>

#include <algorithm>
#include <cmath>

#include "lib/core/cancel_flag.h"
#include "lib/core/error.h"
#include "lib/generate/sequence.h"
#include "lib/model/decoder.h"
#include "lib/model/model_impl.h"

namespace octet {
namespace {

void check(const ModelConfig& config, std::span<const int32_t> ids) {
  require(!ids.empty(), ErrorCode::InvalidArgument, "embed: no token ids");
  require(std::ssize(ids) <= context_limit(config), ErrorCode::InvalidArgument,
          "embed: ", ids.size(), " tokens, but this model was made for at most ",
          context_limit(config));
  for (int32_t id : ids)
    require(id >= 0 && id < config.vocab_size, ErrorCode::InvalidArgument, "token id ", id,
            " is outside the vocabulary of ", config.vocab_size);
}

/// Evaluates the ids in chunks; on_row gets the normed hidden state [hidden_size] of each position.
template <class OnRow>
void each_hidden_state(ModelImpl& model, std::span<const int32_t> ids, const CancelToken& cancel,
                       const OnRow& on_row) {
  const auto positions = std::ssize(ids);
  const Rope rope = make_rope(model.config, positions);
  const KvReservation reservation(*model.kv_pool, kv_blocks(positions));
  Sequence sequence(*model.kv_pool, rope, positions);
  const auto width = static_cast<size_t>(model.config.hidden_size);
  std::vector<float> hidden;
  for (int64_t begin = 0; begin < positions; begin += model.max_rows) {
    const auto part = ids.subspan(static_cast<size_t>(begin))
                          .first(static_cast<size_t>(std::min(model.max_rows, positions - begin)));
    sequence.cache.extend(begin, std::ssize(part));
    hidden.resize(part.size() * width);
    const Chunk chunk[] = {{&sequence.cache, &rope, 0, std::ssize(part), begin}};
    const Batch batch{part, chunk, {}, 0, {}, cancel ? &cancel.impl()->set : nullptr};
    {
      std::lock_guard turn(model.step);
      decode(model.config, model.weights, *model.backend, batch,
             [](int64_t, std::span<const RowLogits>) {});
      model.backend->read_hidden(model.weights.final_norm, hidden.data());
    }
    for (size_t row = 0; row < part.size(); ++row)
      on_row(std::span(hidden).subspan(row * width, width));
  }
}

}  // namespace

std::vector<float> embed(const Model& model, std::span<const int32_t> ids,
                         const EmbedOptions& options) {
  check(model.config(), ids);
  std::vector<double> sum(static_cast<size_t>(model.config().hidden_size));
  const bool mean = options.pooling == EmbedOptions::Pooling::mean;
  each_hidden_state(*model.impl(), ids, options.cancel, [&](std::span<const float> state) {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] = (mean ? sum[i] : 0.0) + state[i];
  });
  double scale = mean ? 1.0 / static_cast<double>(ids.size()) : 1.0;
  if (options.normalize) {
    double squares = 0;
    for (double value : sum) squares += value * value;
    scale = squares > 0 ? 1.0 / std::sqrt(squares) : 0.0;
  }
  std::vector<float> vector(sum.size());
  for (size_t i = 0; i < sum.size(); ++i) vector[i] = static_cast<float>(sum[i] * scale);
  return vector;
}

}  // namespace octet

// RoPE, the KV cache and attention of the CPU backend.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <tuple>

#include "lib/backends/cpu/cpu_backend.h"

namespace octet {
namespace {

using kernels::kv_block;
using kernels::kv_span;

/// Most tokens of one attention item: its query rows, tokens x heads of a kv head, share each span
/// of keys and values that is brought into the cache.
constexpr int64_t most_tokens_per_item = 16;

/// Chunks of up to so many tokens (decoding, with lookup's guesses) are shared out by spans of
/// positions too: with one item a kv head, most threads would have nothing to do.
constexpr int64_t tokens_to_split = 16;

int64_t spans(int64_t positions) {
  return (positions + kv_span - 1) / kv_span;
}

bool is_split(const Chunk& chunk, int64_t positions) {
  return chunk.rows <= tokens_to_split && spans(positions) > 1;
}

/// Dimensions of a key at a block's position `slot`.
template <class T>
void scatter(const T* key, int64_t head_dim, int64_t slot, T* block) {
  for (int64_t i = 0; i < head_dim; ++i) block[i * kv_block + slot] = key[i];
}

}  // namespace

/// Rotates the keys of tokens within one block of positions, and stores them with their values.
/// False if a value cannot be quantized.
bool CpuBackend::cache_tokens(const HeadTokens& tokens, int64_t layer, const float* k_norm,
                              Scratch& scratch) {
  const int64_t d = config_.head_dim;
  const KvCache& kv = *tokens.chunk->cache;
  const int64_t position = tokens.chunk->first_position + tokens.first;
  std::byte* keys = kv.keys(position / kv_block, layer, tokens.kv_head);
  std::byte* values = kv.values(position / kv_block, layer, tokens.kv_head);
  bool finite = true;
  for (int64_t i = 0; i < tokens.count; ++i) {
    const int64_t row = tokens.chunk->first_row + tokens.first + i;
    const int64_t slot = position % kv_block + i;
    float* k = workspace_.k + (row * config_.num_kv_heads + tokens.kv_head) * d;
    const float* v = workspace_.v + (row * config_.num_kv_heads + tokens.kv_head) * d;
    rotate(k, k_norm, row);
    switch (kv.type()) {
      case KvCacheType::f32:
        scatter(k, d, slot, reinterpret_cast<float*>(keys));
        std::copy_n(v, d, reinterpret_cast<float*>(values) + slot * d);
        break;
      case KvCacheType::f16:
        table_.convert_f32_f16(k, scratch.half_row.data(), d);
        scatter(scratch.half_row.data(), d, slot, reinterpret_cast<uint16_t*>(keys));
        table_.convert_f32_f16(v, reinterpret_cast<uint16_t*>(values) + slot * d, d);
        break;
      case KvCacheType::int16:
        finite &= cache_integers(k, v, slot, keys, values, scratch.int16_row.data());
        break;
      case KvCacheType::int8:
        finite &= cache_integers(k, v, slot, keys, values, scratch.int8_row.data());
        break;
    }
  }
  return finite;
}

/// Position `slot` of blocks of integers. False, with nothing stored, if a value is not finite.
template <class T>
bool CpuBackend::cache_integers(const float* k, const float* v, int64_t slot, std::byte* keys,
                                std::byte* values, T* row) const {
  constexpr int64_t group = 4 / int64_t{sizeof(T)};
  const int64_t d = config_.head_dim, scales = kernels::kv_scales(d);
  const auto quantize = [&](const float* x, float* scale, uint8_t activation_xor) {
    if constexpr (sizeof(T) == 1)
      return table_.quantize_f32_s8({d, x, row, scale, activation_xor});
    else
      return table_.quantize_f32_s16({d, x, row, scale});
  };
  float k_scale = 0, v_scale = 0;
  auto* const to_keys = reinterpret_cast<T*>(keys);
  if (!quantize(k, &k_scale, table_.activation_xor)) return false;
  for (int64_t i = 0; i < d; i += group)
    std::memcpy(to_keys + i * kv_block + slot * group, row + i, sizeof(T) * group);
  auto* const to_values = reinterpret_cast<T*>(values);
  if (!quantize(v, &v_scale, 0)) return false;
  T* const at = to_values + slot / group * kernels::padded_n(d) * group + slot % group;
  for (int64_t i = 0; i < d; ++i) at[i * group] = row[i];
  reinterpret_cast<float*>(to_keys + scales)[slot] = k_scale;
  reinterpret_cast<float*>(to_values + scales)[slot] = v_scale;
  return true;
}

/// RMSNorm (if `norm`) and RoPE of one head of row `row`. For a cache of integers then a Hadamard
/// transform, which leaves q . k as it is and spreads the outliers of single dimensions over all
/// (R3 of SpinQuant, Liu et al. 2024, arXiv:2405.16406).
void CpuBackend::rotate(float* head, const float* norm, int64_t row) {
  const int64_t d = config_.head_dim;
  if (norm) table_.rms_norm_f32(head, norm, head, d, static_cast<float>(config_.rms_norm_eps));
  table_.rope_f32(head, cos_.data() + row * (d / 2), sin_.data() + row * (d / 2), d);
  // A model's caches are of one type. The block: the largest power of two that divides head_dim.
  if (has_integers(batch_->chunks[0].cache->type())) table_.hadamard_f32(head, d, d & -d);
}

bool CpuBackend::rotate_and_cache(int64_t layer, const float* q_norm, const float* k_norm) {
  const int64_t group = config_.num_heads / config_.num_kv_heads;
  std::atomic<bool> finite{true};
  const auto one = [&](int64_t i, int thread) {
    const HeadTokens& tokens = cache_items_[static_cast<size_t>(i)];
    for (int64_t token = 0; token < tokens.count; ++token) {
      const int64_t row = tokens.chunk->first_row + tokens.first + token;
      float* const queries =
          workspace_.q + (row * config_.num_heads + tokens.kv_head * group) * config_.head_dim;
      for (int64_t head = 0; head < group; ++head)
        rotate(queries + head * config_.head_dim, q_norm, row);
    }
    if (!cache_tokens(tokens, layer, k_norm, scratch_[static_cast<size_t>(thread)])) finite = false;
  };
  pool_.for_each(static_cast<int64_t>(cache_items_.size()), one, row_parts(batch_->rows()));
  return finite;
}

void CpuBackend::plan_cache(const Batch& batch) {
  cache_items_.clear();
  for (const Chunk& chunk : batch.chunks)
    for (int64_t first = 0, count = 0; first < chunk.rows; first += count) {
      // One thread a block: neighbouring positions of a key's dimension share a cache line.
      count = std::min(chunk.rows - first, kv_block - (chunk.first_position + first) % kv_block);
      for (int64_t head = 0; head < config_.num_kv_heads; ++head)
        cache_items_.push_back({&chunk, first, count, head});
    }
}

/// Into how many parts the items of attention are cut: as the rows are, and one row's spans too, so
/// that a thread knows which keys it takes next; but not where a part would have few. Later tokens
/// of a prompt see more positions, and so the last part would take longest.
int64_t CpuBackend::attention_parts() const {
  if (std::ssize(attention_items_) >= 2 * items_per_thread * pool_.threads())
    return pool_.threads();
  const auto is_prompt = [](const Chunk& chunk) { return chunk.rows > tokens_to_split; };
  const bool prompt = std::any_of(batch_->chunks.begin(), batch_->chunks.end(), is_prompt);
  return prompt ? 1 : row_parts(batch_->rows());
}

/// As many as leave enough items to share out: with fewer tokens the same keys and values are read
/// more often, but 16 threads would mostly wait for the 4 items of 32 tokens.
int64_t CpuBackend::tokens_per_item(const Batch& batch) const {
  int64_t tokens = most_tokens_per_item;
  for (; tokens > 1 && pool_.threads() > 1; tokens /= 2) {
    int64_t items = 0;
    for (const Chunk& chunk : batch.chunks) {
      const int64_t positions = chunk.first_position + chunk.rows;
      const int64_t parts = is_split(chunk, positions) ? spans(positions) : 1;
      items += (chunk.rows + tokens - 1) / tokens * config_.num_kv_heads * parts;
    }
    if (items >= items_per_thread * pool_.threads()) break;
  }
  return tokens;
}

void CpuBackend::plan_attention(const Batch& batch) {
  attention_items_.clear();
  merge_items_.clear();
  const int64_t most = tokens_per_item(batch);
  const int64_t row_partials =  // of a token's query heads
      config_.num_heads / config_.num_kv_heads * kernels::attention_partial(config_.head_dim);
  int64_t used = 0, planned = 0;  // of partials_; planned is for the whole context
  for (const Chunk& chunk : batch.chunks)
    for (int64_t end = chunk.rows; end > 0; end -= std::min(end, most)) {
      const int64_t first = std::max<int64_t>(0, end - most);
      for (int64_t head = 0; head < config_.num_kv_heads; ++head) {
        const HeadTokens tokens{&chunk, first, end - first, head};
        const int64_t positions = chunk.first_position + end;
        if (!is_split(chunk, positions)) {
          attention_items_.push_back({tokens, 0, positions, -1});
          continue;
        }
        for (int64_t token = 0; token < tokens.count; ++token)
          merge_items_.push_back({{&chunk, first + token, 1, head},
                                  used + token * row_partials,
                                  spans(positions),
                                  tokens.count * row_partials});
        for (int64_t span = 0; span < positions;
             span += kv_span, used += tokens.count * row_partials)
          attention_items_.push_back({tokens, span, std::min(span + kv_span, positions), used});
        planned += spans(chunk.cache->max_blocks() * kv_block) * tokens.count * row_partials;
      }
    }
  // In each part of the rows the longest first, so that no thread is left with one when the others
  // are done; of one length in the order of memory.
  const int64_t parts = attention_parts();
  const auto order = [&](const AttentionItem& item) {
    const int64_t row = item.tokens.chunk->first_row + item.tokens.first;
    const int64_t work = item.tokens.count * (item.end_position - item.first_position);
    return std::tuple(row * parts / batch.rows(), -work, row, item.tokens.kv_head,
                      item.first_position);
  };
  std::sort(attention_items_.begin(), attention_items_.end(),
            [&](const auto& a, const auto& b) { return order(a) < order(b); });
  // A growing sequence must not allocate.
  if (static_cast<int64_t>(partials_.size()) < used)
    partials_ = AlignedBuffer<float>(static_cast<size_t>(planned));
}

bool CpuBackend::attention(int64_t layer, const InputForms& forms) {
  const int64_t parts = attention_parts();
  const int64_t step = parts > 1 ? 1 : pool_.threads();
  const auto one = [&](int64_t i, int thread) {
    Scratch& scratch = scratch_[static_cast<size_t>(thread)];
    plan_next_keys(i + step, layer, scratch);
    attend(attention_items_[static_cast<size_t>(i)], layer, scratch);
  };
  reserve_lists();
  pool_.for_each(static_cast<int64_t>(attention_items_.size()), one, parts);
  pool_.for_each(static_cast<int64_t>(merge_items_.size()), [&](int64_t i, int) {
    const MergeItem& item = merge_items_[static_cast<size_t>(i)];
    merge(item.tokens, partials_.data() + item.partial, item.parts, item.stride);
  });
  const int64_t k = config_.num_heads * config_.head_dim;
  set_activations(batch_->rows(), k, forms, workspace_.attention);
  std::atomic<bool> finite{true};
  each_row(workspace_.x.rows, [&](int64_t i, int thread) {
    if (!store_activation(workspace_.attention + i * k, i, thread)) finite = false;
  });
  return finite;
}

/// For all threads and whole contexts at once: which threads attend differs from step to step, and
/// a growing sequence must not allocate.
void CpuBackend::reserve_lists() {
  int64_t blocks = 0;
  for (const Chunk& chunk : batch_->chunks) blocks = std::max(blocks, chunk.cache->max_blocks());
  const int64_t group = config_.num_heads / config_.num_kv_heads;
  for (Scratch& scratch : scratch_) {
    scratch.lengths.resize(static_cast<size_t>(most_tokens_per_item * group));
    scratch.next_keys.reserve(kv_span / kv_block);
    scratch.key_blocks.reserve(static_cast<size_t>(blocks));
    scratch.value_blocks.reserve(static_cast<size_t>(blocks));
  }
}

/// The keys of the item that a thread will likely take next, of its first span.
void CpuBackend::plan_next_keys(int64_t index, int64_t layer, Scratch& scratch) const {
  scratch.next_keys.clear();
  if (index >= std::ssize(attention_items_)) return;
  const AttentionItem& item = attention_items_[static_cast<size_t>(index)];
  const int64_t end = std::min(item.end_position, item.first_position + kv_span);
  for (int64_t position = item.first_position; position < end; position += kv_block)
    scratch.next_keys.push_back(
        item.tokens.chunk->cache->keys(position / kv_block, layer, item.tokens.kv_head));
}

void CpuBackend::attend(const AttentionItem& item, int64_t layer, Scratch& scratch) {
  const HeadTokens& tokens = item.tokens;
  const int64_t d = config_.head_dim, width = config_.num_heads * d;
  const int64_t group = config_.num_heads / config_.num_kv_heads;  // query heads of this kv head
  const int64_t max_rows = most_tokens_per_item * group;
  if (scratch.queries.size() == 0) {
    scratch.queries = AlignedBuffer<float>(static_cast<size_t>(max_rows * d));
    scratch.partial =
        AlignedBuffer<float>(static_cast<size_t>(max_rows * kernels::attention_partial(d)));
    scratch.scores = AlignedBuffer<float>(static_cast<size_t>(kernels::attention_scratch(d)));
  }
  for (int64_t token = 0; token < tokens.count; ++token) {
    const int64_t row = tokens.chunk->first_row + tokens.first + token;
    std::copy_n(workspace_.q + row * width + tokens.kv_head * group * d, group * d,
                scratch.queries.data() + token * group * d);
    std::fill_n(scratch.lengths.begin() + token * group, group,
                tokens.chunk->first_position + tokens.first + token + 1);
  }
  scratch.key_blocks.clear();
  scratch.value_blocks.clear();
  const KvCache& kv = *tokens.chunk->cache;
  for (int64_t position = item.first_position; position < item.end_position; position += kv_block) {
    const int64_t block = position / kv_block;
    scratch.key_blocks.push_back(kv.keys(block, layer, tokens.kv_head));
    scratch.value_blocks.push_back(kv.values(block, layer, tokens.kv_head));
  }
  float* partial = item.partial < 0 ? scratch.partial.data() : partials_.data() + item.partial;
  const kernels::Attention task{tokens.count * group,
                                d,
                                scratch.queries.data(),
                                d,
                                scratch.key_blocks.data(),
                                scratch.value_blocks.data(),
                                scratch.lengths.data(),
                                item.first_position,
                                item.end_position,
                                1.0f / std::sqrt(static_cast<float>(d)),
                                partial,
                                scratch.scores.data(),
                                scratch.next_keys.data(),
                                static_cast<int64_t>(scratch.next_keys.size())};
  switch (kv.type()) {
    case KvCacheType::f32:
      table_.attention_f32(task);
      break;
    case KvCacheType::f16:
      table_.attention_f16(task);
      break;
    case KvCacheType::int16:
      table_.attention_s16(task);
      break;
    case KvCacheType::int8:
      table_.attention_s8(task);
      break;
  }
  if (item.partial < 0) merge(tokens, partial, 1, 0);
}

void CpuBackend::merge(const HeadTokens& tokens, const float* partial, int64_t parts,
                       int64_t stride) {
  const int64_t d = config_.head_dim, width = config_.num_heads * d;
  const int64_t group = config_.num_heads / config_.num_kv_heads;
  for (int64_t token = 0; token < tokens.count; ++token) {
    const int64_t row = tokens.chunk->first_row + tokens.first + token;
    table_.attention_merge_f32(
        {group, d, parts, partial + token * group * kernels::attention_partial(d), stride,
         workspace_.attention + row * width + tokens.kv_head * group * d, d});
  }
}

}  // namespace octet

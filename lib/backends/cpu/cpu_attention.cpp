// RoPE, the KV cache and attention of the CPU backend.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "lib/backends/cpu/cpu_backend.h"

namespace octet {
namespace {

using kernels::kv_block;

/// Tokens of one attention item: its query rows, tokens x heads of a kv head, share each block of
/// keys that is brought into the cache.
constexpr int64_t tokens_per_item = 16;

}  // namespace

void CpuBackend::rotate_and_cache(int64_t layer, const float* q_norm, const float* k_norm) {
  const int64_t d = config_.head_dim;
  const auto eps = static_cast<float>(config_.rms_norm_eps);
  const auto rotate = [&](float* head, const float* norm, int64_t row) {
    if (norm) table_.rms_norm_f32(head, norm, head, d, eps);
    table_.rope_f32(head, cos_.data() + row * (d / 2), sin_.data() + row * (d / 2), d);
  };
  const auto cache = [&](const float* from, std::byte* block, int64_t slot, KvType type) {
    if (type == KvType::f32)
      std::memcpy(reinterpret_cast<float*>(block) + slot * d, from,
                  static_cast<size_t>(d) * sizeof(float));
    else
      table_.convert_f32_f16(from, reinterpret_cast<uint16_t*>(block) + slot * d, d);
  };
  for (const Chunk& chunk : batch_->chunks)
    each_row(chunk.rows, [&](int64_t i, int) {
      const int64_t row = chunk.first_row + i, position = chunk.first_position + i;
      const int64_t block = position / kv_block, slot = position % kv_block;
      for (int64_t head = 0; head < config_.num_heads; ++head)
        rotate(workspace_.q + (row * config_.num_heads + head) * d, q_norm, row);
      for (int64_t head = 0; head < config_.num_kv_heads; ++head) {
        const int64_t offset = (row * config_.num_kv_heads + head) * d;
        rotate(workspace_.k + offset, k_norm, row);
        const KvCache& kv = *chunk.cache;
        cache(workspace_.k + offset, kv.keys(block, layer, head), slot, kv.type());
        cache(workspace_.v + offset, kv.values(block, layer, head), slot, kv.type());
      }
    });
}

void CpuBackend::plan_attention(const Batch& batch) {
  attention_items_.clear();
  for (const Chunk& chunk : batch.chunks)
    // The last tokens see the most keys: begin with them, so that no thread ends with a long item.
    for (int64_t end = chunk.rows; end > 0; end -= std::min(end, tokens_per_item)) {
      const int64_t first = std::max<int64_t>(0, end - tokens_per_item);
      for (int64_t head = 0; head < config_.num_kv_heads; ++head)
        attention_items_.push_back({&chunk, first, end - first, head});
    }
}

bool CpuBackend::attention(int64_t layer) {
  pool_.for_each(static_cast<int64_t>(attention_items_.size()), [&](int64_t i, int thread) {
    attend(attention_items_[static_cast<size_t>(i)], layer, scratch_[static_cast<size_t>(thread)]);
  });
  const int64_t k = config_.num_heads * config_.head_dim;
  set_activations(batch_->rows(), k);
  std::atomic<bool> finite{true};
  each_row(workspace_.x.rows, [&](int64_t i, int) {
    if (!store_activation(workspace_.attention + i * k, i)) finite = false;
  });
  return finite;
}

void CpuBackend::attend(const AttentionItem& item, int64_t layer, Scratch& scratch) {
  const int64_t d = config_.head_dim, width = config_.num_heads * d;
  const int64_t group = config_.num_heads / config_.num_kv_heads;  // query heads of this kv head
  const int64_t max_rows = tokens_per_item * group;
  if (scratch.queries.size() == 0) {
    scratch.queries = AlignedBuffer<float>(static_cast<size_t>(max_rows * d));
    scratch.attended = AlignedBuffer<float>(static_cast<size_t>(max_rows * d));
    scratch.attention =
        AlignedBuffer<float>(static_cast<size_t>(kernels::attention_scratch(max_rows, d)));
    scratch.lengths.resize(static_cast<size_t>(max_rows));
  }
  const int64_t first_row = item.chunk->first_row + item.first;
  const int64_t first_position = item.chunk->first_position + item.first;
  const auto head_of = [&](float* rows, int64_t token) {
    return rows + (first_row + token) * width + item.kv_head * group * d;
  };
  const auto group_bytes = static_cast<size_t>(group * d) * sizeof(float);
  for (int64_t token = 0; token < item.count; ++token) {
    std::memcpy(scratch.queries.data() + token * group * d, head_of(workspace_.q, token),
                group_bytes);
    std::fill_n(scratch.lengths.begin() + token * group, group, first_position + token + 1);
  }
  scratch.key_blocks.clear();
  scratch.value_blocks.clear();
  const KvCache& kv = *item.chunk->cache;
  // For the whole context at once: a growing sequence must not allocate.
  scratch.key_blocks.reserve(static_cast<size_t>(kv.num_blocks()));
  scratch.value_blocks.reserve(static_cast<size_t>(kv.num_blocks()));
  for (int64_t block = 0; block * kv_block < first_position + item.count; ++block) {
    scratch.key_blocks.push_back(kv.keys(block, layer, item.kv_head));
    scratch.value_blocks.push_back(kv.values(block, layer, item.kv_head));
  }
  const kernels::Attention task{item.count * group,        d,
                                scratch.queries.data(),    d,
                                scratch.key_blocks.data(), scratch.value_blocks.data(),
                                scratch.lengths.data(),    1.0f / std::sqrt(static_cast<float>(d)),
                                scratch.attended.data(),   d,
                                scratch.attention.data()};
  (kv.type() == KvType::f32 ? table_.attention_f32 : table_.attention_f16)(task);
  for (int64_t token = 0; token < item.count; ++token)
    std::memcpy(head_of(workspace_.attention, token), scratch.attended.data() + token * group * d,
                group_bytes);
}

}  // namespace octet

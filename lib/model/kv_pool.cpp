#include "lib/model/kv_pool.h"

#include <algorithm>

#include "kernels/types.h"
#include "lib/core/error.h"

namespace octet {
namespace {

/// Bytes of a block's keys, or values, of one head.
int64_t head_block_bytes(int64_t head_dim, KvCacheType type) {
  if (type == KvCacheType::int8) return kernels::kv_s8_bytes(head_dim);
  return kernels::kv_block * head_dim * (type == KvCacheType::f32 ? 4 : 2);
}

}  // namespace

/// Blocks that were taken from the memory together.
struct KvExtent {
  std::byte* memory = nullptr;
  std::vector<KvBlock> blocks;
  KvBlock* free = nullptr;
  int64_t used = 0;
};

const char* to_string(KvCacheType type) noexcept {
  switch (type) {
    case KvCacheType::f32:
      return "f32";
    case KvCacheType::f16:
      return "f16";
    case KvCacheType::int8:
      return "int8";
  }
  return "unknown";
}

KvCacheType parse_kv_cache(std::string_view name) {
  for (KvCacheType type : {KvCacheType::f16, KvCacheType::int8, KvCacheType::f32})
    if (name == to_string(type)) return type;
  fail(ErrorCode::InvalidArgument, "kv-cache '", name, "': known are f16, int8, f32");
}

int64_t kv_bytes_per_token(const ModelConfig& config, KvCacheType type) {
  return KvLayout(config, type).block_bytes / kernels::kv_block;
}

int64_t kv_blocks(int64_t positions) {
  return positions / kernels::kv_block + (positions % kernels::kv_block > 0 ? 1 : 0);
}

KvLayout::KvLayout(const ModelConfig& config, KvCacheType cache_type)
    : type(cache_type),
      kv_heads(config.num_kv_heads),
      head_bytes(head_block_bytes(config.head_dim, cache_type)),
      block_bytes(2 * config.num_layers * config.num_kv_heads * head_bytes) {}

KvPool::KvPool(const ModelConfig& config, KvCacheType type, KvMemory& memory)
    : layout_(config, type), memory_(memory) {}

KvPool::~KvPool() {
  for (const auto& extent : extents_)
    memory_.give_back(extent->memory,
                      static_cast<int64_t>(extent->blocks.size()) * layout_.block_bytes);
}

void KvPool::reserve(int64_t blocks) {
  std::lock_guard lock(mutex_);
  const int64_t missing = reserved_ + blocks - capacity_;
  if (missing > 0) {
    const int64_t positions = missing * kernels::kv_block;
    int64_t bytes = 0;
    require(!__builtin_mul_overflow(missing, layout_.block_bytes, &bytes), ErrorCode::OutOfMemory,
            "the KV cache of a context of ", positions, " tokens needs ",
            static_cast<double>(missing) * static_cast<double>(layout_.block_bytes) / 1e9,
            " GB, more than an address space holds");
    auto extent = std::make_unique<KvExtent>();
    extent->blocks.resize(static_cast<size_t>(missing));
    extents_.reserve(extents_.size() + 1);
    extent->memory = memory_.take(bytes, positions);
    for (int64_t i = missing; i-- > 0;) {
      KvBlock& block = extent->blocks[static_cast<size_t>(i)];
      block = {extent->memory + i * layout_.block_bytes, extent.get(), extent->free, 0};
      extent->free = &block;
    }
    extents_.push_back(std::move(extent));
    capacity_ += missing;
  }
  reserved_ += blocks;
}

void KvPool::unreserve(int64_t blocks) noexcept {
  std::lock_guard lock(mutex_);
  reserved_ -= blocks;
  std::erase_if(extents_, [&](const std::unique_ptr<KvExtent>& extent) {
    const auto size = static_cast<int64_t>(extent->blocks.size());
    if (extent->used > 0 || capacity_ - size < reserved_) return false;
    memory_.give_back(extent->memory, size * layout_.block_bytes);
    capacity_ -= size;
    return true;
  });
}

KvBlock* KvPool::take_locked() {
  require(used_ < reserved_, ErrorCode::Internal, "KV cache: ", used_, " of ", reserved_,
          " reserved blocks are in use, and one more is wanted");
  const auto extent =
      std::find_if(extents_.begin(), extents_.end(), [](const auto& e) { return e->free; });
  KvBlock* const block = (*extent)->free;
  (*extent)->free = block->next_free;
  ++(*extent)->used;
  ++used_;
  block->owners = 1;
  return block;
}

void KvPool::release_locked(KvBlock* block) noexcept {
  if (--block->owners > 0) return;
  memory_.discard(block->data, layout_.block_bytes);
  block->next_free = block->extent->free;
  block->extent->free = block;
  --block->extent->used;
  --used_;
}

KvBlock* KvPool::take() {
  std::lock_guard lock(mutex_);
  return take_locked();
}

void KvPool::share(KvBlock* block) noexcept {
  std::lock_guard lock(mutex_);
  ++block->owners;
}

void KvPool::release(KvBlock* block) noexcept {
  std::lock_guard lock(mutex_);
  release_locked(block);
}

void KvPool::make_own(KvBlock*& block, bool keep_content) {
  std::lock_guard lock(mutex_);
  if (block->owners == 1) return;
  KvBlock* const own = take_locked();
  if (keep_content) memory_.copy(own->data, block->data, layout_.block_bytes);
  release_locked(std::exchange(block, own));
}

int64_t KvPool::blocks_in_use() const {
  std::lock_guard lock(mutex_);
  return used_;
}
int64_t KvPool::blocks_reserved() const {
  std::lock_guard lock(mutex_);
  return reserved_;
}

}  // namespace octet

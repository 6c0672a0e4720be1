#include "lib/model/kv_pool.h"

#include <algorithm>
#include <span>
#include <utility>

#include "kernels/types.h"
#include "lib/core/error.h"

namespace octet {
namespace {

/// Bytes of a block's keys, or values, of one head.
int64_t kv_part_bytes(int64_t head_dim, KvCacheType type) {
  if (type == KvCacheType::int8) return kernels::kv_s8_bytes(head_dim);
  if (type == KvCacheType::int16) return kernels::kv_s16_bytes(head_dim);
  return kernels::kv_block * head_dim * (type == KvCacheType::f32 ? 4 : 2);
}

}  // namespace

struct KvSlab {
  std::byte* memory;
  std::span<KvBlock> blocks;
  KvExtent* extent;
  int64_t used = 0;

  int64_t free() const { return std::ssize(blocks) - used; }
};

/// Blocks that were taken from the memory together.
struct KvExtent {
  /// Of `count` blocks of zeroed memory.
  KvExtent(std::byte* address, int64_t count, const KvLayout& layout, int64_t blocks_per_slab);

  std::byte* memory;
  std::vector<KvBlock> blocks;
  std::vector<KvSlab> slabs;
  int64_t used = 0;
};

KvExtent::KvExtent(std::byte* address, int64_t count, const KvLayout& layout,
                   int64_t blocks_per_slab)
    : memory(address), blocks(static_cast<size_t>(count)) {
  slabs.reserve(static_cast<size_t>((count + blocks_per_slab - 1) / blocks_per_slab));
  for (int64_t first = 0; first < count; first += blocks_per_slab) {
    const int64_t size = std::min(blocks_per_slab, count - first);
    std::byte* const slab = memory + first * layout.block_bytes;
    slabs.push_back(
        {slab, std::span(blocks).subspan(static_cast<size_t>(first), static_cast<size_t>(size)),
         this});
    for (int64_t i = 0; i < size; ++i)
      blocks[static_cast<size_t>(first + i)] = {slab + i * layout.part_bytes,
                                                size * layout.part_bytes, &slabs.back()};
  }
}

const char* to_string(KvCacheType type) noexcept {
  switch (type) {
    case KvCacheType::f32:
      return "f32";
    case KvCacheType::f16:
      return "f16";
    case KvCacheType::int16:
      return "int16";
    case KvCacheType::int8:
      return "int8";
  }
  return "unknown";
}

KvCacheType parse_kv_cache(std::string_view name) {
  for (KvCacheType type :
       {KvCacheType::f16, KvCacheType::int16, KvCacheType::int8, KvCacheType::f32})
    if (name == to_string(type)) return type;
  fail(ErrorCode::InvalidArgument, "kv-cache '", name, "': known are f16, int16, int8, f32");
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
      parts(2 * config.num_layers * config.num_kv_heads),
      part_bytes(kv_part_bytes(config.head_dim, cache_type)),
      block_bytes(parts * part_bytes) {}

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
    extents_.reserve(extents_.size() + 1);
    std::byte* const memory = memory_.take(bytes, positions);
    std::unique_ptr<KvExtent> extent;
    try {
      extent = std::make_unique<KvExtent>(memory, missing, layout_, memory_.blocks_per_slab());
    } catch (...) {
      memory_.give_back(memory, bytes);
      throw;
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
    if (spare_ && spare_->extent == extent.get()) spare_ = nullptr;
    memory_.give_back(extent->memory, size * layout_.block_bytes);
    capacity_ -= size;
    return true;
  });
}

/// A wholly free one if there is one, for sequences that grow in turns.
KvSlab& KvPool::emptiest_slab() const {
  if (spare_ && spare_->used == 0) return *spare_;
  KvSlab* best = nullptr;
  for (const auto& extent : extents_)
    for (KvSlab& slab : extent->slabs) {
      if (slab.used == 0) return slab;
      if (!best || slab.free() > best->free()) best = &slab;
    }
  return *best;
}

KvBlock* KvPool::take_locked(const KvBlock* after) {
  require(used_ < reserved_, ErrorCode::Internal, "KV cache: ", used_, " of ", reserved_,
          " reserved blocks are in use, and one more is wanted");
  const auto is_free = [](const KvBlock& block) { return block.owners == 0; };
  KvSlab* slab = after ? after->slab : nullptr;
  KvBlock* block = slab ? slab->blocks.data() + (after - slab->blocks.data() + 1) : nullptr;
  if (!slab || block == slab->blocks.data() + slab->blocks.size() || !is_free(*block)) {
    slab = &emptiest_slab();
    block = &*std::find_if(slab->blocks.begin(), slab->blocks.end(), is_free);
  }
  ++slab->used;
  ++slab->extent->used;
  ++used_;
  block->owners = 1;
  return block;
}

void KvPool::release_locked(KvBlock* block) noexcept {
  if (--block->owners > 0) return;
  KvSlab& slab = *block->slab;
  --slab.extent->used;
  if (--slab.used == 0) keep_or_discard(slab);
  --used_;
}

/// Pages hold parts of several blocks, so memory goes by the slab.
void KvPool::keep_or_discard(KvSlab& slab) noexcept {
  if (spare_ && spare_ != &slab && spare_->used == 0)
    memory_.discard(slab.memory, std::ssize(slab.blocks) * layout_.block_bytes);
  else
    spare_ = &slab;
}

KvBlock* KvPool::take(const KvBlock* after) {
  std::lock_guard lock(mutex_);
  return take_locked(after);
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
  KvBlock* const own = take_locked(nullptr);
  if (keep_content)
    each_run(std::min(run_of(*own), run_of(*block)), [&](int64_t part, int64_t bytes) {
      memory_.copy(own->part(part), block->part(part), bytes);
    });
  release_locked(std::exchange(block, own));
}

void KvPool::read(std::byte* host, const KvBlock& block) const {
  each_run(run_of(block), [&](int64_t part, int64_t bytes) {
    memory_.read(host + part * layout_.part_bytes, block.part(part), bytes);
  });
}

void KvPool::write(const KvBlock& block, const std::byte* host) const {
  each_run(run_of(block), [&](int64_t part, int64_t bytes) {
    memory_.write(block.part(part), host + part * layout_.part_bytes, bytes);
  });
}

int64_t KvPool::run_of(const KvBlock& block) const {
  return block.stride == layout_.part_bytes ? layout_.parts : 1;
}

void KvPool::each_run(int64_t run, FunctionRef<void(int64_t, int64_t)> work) const {
  for (int64_t part = 0; part < layout_.parts; part += run) work(part, run * layout_.part_bytes);
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

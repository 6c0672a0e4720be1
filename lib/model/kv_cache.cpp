#include "lib/model/kv_cache.h"

#include <sys/mman.h>
#include <unistd.h>

#include "kernels/types.h"
#include "lib/core/error.h"

namespace octet {
namespace {

class HostKvMemory : public KvMemory {
 public:
  std::byte* take(int64_t bytes, int64_t context) override {
    const int64_t memory = sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    require(bytes <= memory, ErrorCode::OutOfMemory, "the KV cache of a context of ", context,
            " tokens needs ", static_cast<double>(bytes) / 1e9, " GB, this machine has ",
            static_cast<double>(memory) / 1e9, " GB");
    void* address = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(address != MAP_FAILED, ErrorCode::OutOfMemory, "cannot reserve ", bytes,
            " bytes for the KV cache of a context of ", context, " tokens");
    return static_cast<std::byte*>(address);
  }
  void give_back(std::byte* memory, int64_t bytes) noexcept override {
    munmap(memory, static_cast<size_t>(bytes));
  }
  void discard(std::byte* memory, int64_t bytes) override {
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto address = reinterpret_cast<uintptr_t>(memory);
    const auto skipped = static_cast<int64_t>((page - address % page) % page);
    if (skipped < bytes)
      madvise(memory + skipped, static_cast<size_t>(bytes - skipped), MADV_DONTNEED);
  }
};

}  // namespace

KvMemory& host_kv_memory() {
  static HostKvMemory memory;
  return memory;
}

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
  for (KvCacheType type : {KvCacheType::f16, KvCacheType::int8})
    if (name == to_string(type)) return type;
  fail(ErrorCode::InvalidArgument, "kv-cache '", name, "': known are f16, int8");
}

namespace {

/// Bytes of a block's keys, or values, of one head.
int64_t head_block_bytes(int64_t head_dim, KvCacheType type) {
  if (type == KvCacheType::int8) return kernels::kv_s8_bytes(head_dim);
  return kernels::kv_block * head_dim * (type == KvCacheType::f32 ? 4 : 2);
}

}  // namespace

int64_t kv_bytes_per_token(const ModelConfig& config, KvCacheType type) {
  return 2 * config.num_layers * config.num_kv_heads * head_block_bytes(config.head_dim, type) /
         kernels::kv_block;
}

KvCache::KvCache(const ModelConfig& config, KvCacheType type, int64_t context, KvMemory& memory)
    : memory_(memory), type_(type), kv_heads_(config.num_kv_heads) {
  block_bytes_ = kernels::kv_block * kv_bytes_per_token(config, type);
  head_bytes_ = head_block_bytes(config.head_dim, type);
  const int64_t blocks = (context + kernels::kv_block - 1) / kernels::kv_block;
  require(!__builtin_mul_overflow(blocks, block_bytes_, &total_bytes_), ErrorCode::OutOfMemory,
          "the KV cache of a context of ", context, " tokens needs ",
          static_cast<double>(blocks) * static_cast<double>(block_bytes_) / 1e9,
          " GB, more than an address space holds");
  base_ = memory_.take(total_bytes_, context);
}

KvCache::~KvCache() {
  memory_.give_back(base_, total_bytes_);
}

void KvCache::release_from(int64_t length) {
  const int64_t kept = (length + kernels::kv_block - 1) / kernels::kv_block * block_bytes_;
  if (kept < total_bytes_) memory_.discard(base_ + kept, total_bytes_ - kept);
}

}  // namespace octet

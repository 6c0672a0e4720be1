#include "lib/model/kv_cache.h"

#include <sys/mman.h>
#include <unistd.h>

#include "kernels/types.h"
#include "lib/core/error.h"

namespace octet {

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

KvCache::KvCache(const ModelConfig& config, KvCacheType type, int64_t context)
    : type_(type), kv_heads_(config.num_kv_heads) {
  block_bytes_ = kernels::kv_block * kv_bytes_per_token(config, type);
  head_bytes_ = head_block_bytes(config.head_dim, type);
  const int64_t blocks = (context + kernels::kv_block - 1) / kernels::kv_block;
  const int64_t memory = sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
  require(!__builtin_mul_overflow(blocks, block_bytes_, &total_bytes_) && total_bytes_ <= memory,
          ErrorCode::OutOfMemory, "the KV cache of a context of ", context, " tokens needs ",
          static_cast<double>(blocks) * static_cast<double>(block_bytes_) / 1e9,
          " GB, this machine has ", static_cast<double>(memory) / 1e9, " GB");
  void* address = mmap(nullptr, static_cast<size_t>(total_bytes_), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(address != MAP_FAILED, ErrorCode::OutOfMemory, "cannot reserve ", total_bytes_,
          " bytes for the KV cache of a context of ", context, " tokens");
  base_ = static_cast<std::byte*>(address);
}

KvCache::~KvCache() {
  munmap(base_, static_cast<size_t>(total_bytes_));
}

void KvCache::release_from(int64_t length) {
  const int64_t page = sysconf(_SC_PAGESIZE);
  const int64_t kept = (length + kernels::kv_block - 1) / kernels::kv_block * block_bytes_;
  const int64_t begin = (kept + page - 1) / page * page;
  if (begin < total_bytes_)
    madvise(base_ + begin, static_cast<size_t>(total_bytes_ - begin), MADV_DONTNEED);
}

}  // namespace octet

// Memory for the KV caches of a CPU.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "kernels/types.h"
#include "lib/core/error.h"
#include "lib/core/huge_pages.h"
#include "lib/model/kv_pool.h"

namespace octet {
namespace {

class HostKvMemory : public KvMemory {
 public:
  int64_t blocks_per_slab() const override { return kernels::kv_span / kernels::kv_block; }
  std::byte* take(int64_t bytes, int64_t positions) override {
    const int64_t memory = sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    require(bytes <= memory, ErrorCode::OutOfMemory, "the KV cache of a context of ", positions,
            " tokens needs ", static_cast<double>(bytes) / 1e9, " GB, this machine has ",
            static_cast<double>(memory) / 1e9, " GB");
    void* address = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(address != MAP_FAILED, ErrorCode::OutOfMemory, "cannot reserve ", bytes,
            " bytes for the KV cache of a context of ", positions, " tokens");
    ask_for_huge_pages(address, static_cast<size_t>(bytes));
    return static_cast<std::byte*>(address);
  }

  void give_back(std::byte* memory, int64_t bytes) noexcept override {
    munmap(memory, static_cast<size_t>(bytes));
  }

  /// Whole pages only: the others hold parts of other blocks too.
  void discard(std::byte* memory, int64_t bytes) noexcept override {
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto begin = reinterpret_cast<uintptr_t>(memory);
    const uintptr_t first = (begin + page - 1) / page * page;
    const uintptr_t end = (begin + static_cast<uintptr_t>(bytes)) / page * page;
    if (first < end) madvise(memory + (first - begin), end - first, MADV_DONTNEED);
  }

  void copy(std::byte* to, const std::byte* from, int64_t bytes) override {
    std::memcpy(to, from, static_cast<size_t>(bytes));
  }
  void read(std::byte* host, const std::byte* from, int64_t bytes) override {
    copy(host, from, bytes);
  }
  void write(std::byte* to, const std::byte* host, int64_t bytes) override {
    copy(to, host, bytes);
  }
};

}  // namespace

KvMemory& host_kv_memory() {
  static HostKvMemory memory;
  return memory;
}

}  // namespace octet

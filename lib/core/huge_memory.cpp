#include "lib/core/huge_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/huge_pages.h"

namespace octet {
namespace {
constexpr size_t huge_page = size_t{2} << 20;
}

HugeMemory::HugeMemory(size_t bytes) {
  if (bytes == 0) return;
  // The kernel need not start it on a boundary of 2 MB.
  require(!__builtin_add_overflow(bytes, huge_page, &mapped_), ErrorCode::OutOfMemory, bytes,
          " bytes are more than an address space holds");
  mapping_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  require(mapping_ != MAP_FAILED, ErrorCode::OutOfMemory, "cannot allocate ", bytes, " bytes");
  const auto begin = reinterpret_cast<uintptr_t>(mapping_);
  data_ = static_cast<std::byte*>(mapping_) + (huge_page - begin % huge_page) % huge_page;
  size_ = bytes;
  ask_for_huge_pages(data_, size_);
}

HugeMemory::~HugeMemory() {
  if (data_) munmap(mapping_, mapped_);
}

HugeMemory::HugeMemory(HugeMemory&& other) noexcept
    : mapping_(std::exchange(other.mapping_, nullptr)),
      mapped_(std::exchange(other.mapped_, 0)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

HugeMemory& HugeMemory::operator=(HugeMemory&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  std::swap(mapped_, other.mapped_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace octet

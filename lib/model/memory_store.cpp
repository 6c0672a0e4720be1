#include "lib/model/memory_store.h"

#include <cstring>

#include "lib/core/error.h"

namespace octet {

MemoryStore::MemoryStore(const std::vector<StoredTensor>& plan) : plan_(plan) {
  uint64_t end = 0;
  for (const StoredTensor& tensor : plan) {
    indices_.emplace(tensor.name, offsets_.size());
    offsets_.push_back(end);
    const bool fits = !__builtin_add_overflow(end, tensor.bytes(), &end) &&
                      !__builtin_add_overflow(end, uint64_t{63}, &end);
    require(fits, ErrorCode::OutOfMemory, "tensors of more bytes than an address space holds");
    end = end / 64 * 64;
  }
  memory_ = HugeMemory(end);
}

void MemoryStore::write(size_t index, uint64_t offset, std::span<const std::byte> bytes) {
  const uint64_t size = plan_.at(index).bytes();
  require(offset + bytes.size() <= size, ErrorCode::Internal, "tensor ", index, ": byte ",
          offset + bytes.size(), " of ", size);
  std::memcpy(memory_.data() + offsets_[index] + offset, bytes.data(), bytes.size());
}

const std::byte* MemoryStore::data(const StoredTensor& tensor) const {
  const auto found = indices_.find(tensor.name);
  require(found != indices_.end(), ErrorCode::Internal, "tensor '", tensor.name, "' is missing");
  return memory_.data() + offsets_[found->second];
}

}  // namespace octet

#include "lib/convert/memory_store.h"

#include <cstring>

#include "lib/core/error.h"

namespace octet {

MemoryStore::MemoryStore(const std::vector<StoredTensor>& plan) : plan_(plan) {
  for (const StoredTensor& tensor : plan) {
    indices_.emplace(tensor.name, buffers_.size());
    buffers_.emplace_back(tensor.bytes());
  }
}

void MemoryStore::write(size_t index, uint64_t offset, std::span<const std::byte> bytes) {
  const AlignedBuffer<std::byte>& buffer = buffers_.at(index);
  require(offset + bytes.size() <= buffer.size(), ErrorCode::Internal, "tensor ", index, ": byte ",
          offset + bytes.size(), " of ", buffer.size());
  std::memcpy(buffer.data() + offset, bytes.data(), bytes.size());
}

bool MemoryStore::has(const StoredTensor& tensor) const {
  const auto found = indices_.find(tensor.name);
  if (found == indices_.end()) return false;
  const StoredTensor& held = plan_[found->second];
  return held.dtype == tensor.dtype && held.shape == tensor.shape;
}

const std::byte* MemoryStore::data(const StoredTensor& tensor) const {
  const auto found = indices_.find(tensor.name);
  require(found != indices_.end(), ErrorCode::Internal, "tensor '", tensor.name, "' is missing");
  return buffers_[found->second].data();
}

}  // namespace octet

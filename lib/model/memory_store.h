#pragma once
#include <map>

#include "lib/core/huge_memory.h"
#include "lib/model/tensor_store.h"

namespace octet {

/// A model's tensors in memory: filled like a file, read like one.
class MemoryStore : public TensorSink, public TensorStore {
 public:
  /// Errors: OutOfMemory.
  explicit MemoryStore(const std::vector<StoredTensor>& plan);
  void write(size_t index, uint64_t offset, std::span<const std::byte> bytes) override;
  bool has(const std::string& name) const override { return indices_.contains(name); }
  const std::byte* data(const StoredTensor& tensor) const override;

 private:
  std::vector<StoredTensor> plan_;
  HugeMemory memory_;
  std::vector<uint64_t> offsets_;  // of the tensors
  std::map<std::string, size_t> indices_;
};

}  // namespace octet

#pragma once
#include <cstddef>

namespace octet {

/// Zeroed memory of its own mapping, in pages of 2 MB where the system has them: a row of a matrix
/// is then read without a page walk each 4 KB. Memory is taken as it is touched. Movable.
class HugeMemory {
 public:
  HugeMemory() = default;
  /// Errors: OutOfMemory.
  explicit HugeMemory(size_t bytes);
  ~HugeMemory();
  HugeMemory(HugeMemory&& other) noexcept;
  HugeMemory& operator=(HugeMemory&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  void* mapping_ = nullptr;
  size_t mapped_ = 0;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace octet

#pragma once
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

namespace octet::tools {

/// Writes the results of a command as a safetensors file whose tensors' shapes are known
/// beforehand, one after another. The file has a temporary name until finish(); without finish()
/// it is removed. Errors: Io.
class TensorFile {
 public:
  struct Plan {
    std::string name;
    std::string dtype;  ///< "F32" or "I32"
    std::vector<int64_t> shape;
  };
  TensorFile(const std::string& path, const std::vector<Plan>& tensors);
  ~TensorFile();
  TensorFile(const TensorFile&) = delete;
  TensorFile& operator=(const TensorFile&) = delete;

  void append(std::span<const float> values) { write(values.data(), values.size_bytes()); }
  void append(std::span<const int32_t> values) { write(values.data(), values.size_bytes()); }
  void finish();

 private:
  void write(const void* data, size_t bytes);

  std::string path_, temporary_;
  std::FILE* file_ = nullptr;
  uint64_t expected_ = 0, written_ = 0;  // bytes of data
};

}  // namespace octet::tools

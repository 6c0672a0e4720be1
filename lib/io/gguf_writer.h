#pragma once
// Writing a GGUF file (version 3): https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/io/atomic_file.h"

namespace octet {

/// First all keys and tensors are named, then start(), then the tensors' bytes come in any order.
/// The file appears under its name when it is complete.
class GgufWriter {
 public:
  void text(std::string_view key, std::string_view value);
  void u32(std::string_view key, int64_t value);
  void f32(std::string_view key, double value);
  void boolean(std::string_view key, bool value);
  void texts(std::string_view key, const std::vector<std::string>& values);
  void i32s(std::string_view key, const std::vector<int32_t>& values);
  void f32s(std::string_view key, const std::vector<float>& values);

  /// shape: rows first. type: a ggml_type. Returns the tensor's index.
  size_t tensor(std::string_view name, const std::vector<int64_t>& shape, uint32_t type,
                int64_t bytes);

  /// Errors: Io.
  void start(const std::string& path);
  /// Bytes of tensor `index` from `offset` on. Thread-safe. Errors: Io.
  void write(size_t index, uint64_t offset, std::span<const std::byte> bytes);
  /// Flushes and renames. Returns the file's size. Errors: Io.
  uint64_t finish();

 private:
  void key(std::string_view name, uint32_t type);
  void array(std::string_view name, uint32_t type, size_t count);

  std::string keys_, tensors_;
  uint64_t key_count_ = 0;
  std::vector<uint64_t> offsets_;  // of the tensors, in the data
  uint64_t data_bytes_ = 0, data_begin_ = 0;
  std::unique_ptr<AtomicFile> file_;
};

}  // namespace octet

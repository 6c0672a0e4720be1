#pragma once
// The safetensors container: parsing one hostile file, and writing one atomically.
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace octet {

/// Bytes of one element of a safetensors dtype ("F32", "BF16", "I8", ...); 0 if it is not known.
uint64_t safetensors_element_bytes(std::string_view dtype);

struct SafetensorsEntry {
  std::string name;
  std::string dtype;
  std::vector<uint64_t> shape;
  std::span<const std::byte> data;  ///< inside the parsed bytes
};

struct Safetensors {
  std::map<std::string, std::string> metadata;
  std::vector<SafetensorsEntry> tensors;  ///< by offset

  /// Null if there is no such tensor.
  const SafetensorsEntry* find(std::string_view name) const;
};

/// Parses a whole file. `where` names it in errors. Errors: InvalidFile.
Safetensors parse_safetensors(std::span<const std::byte> file, const std::string& where);

/// Writes a file whose tensors' names, types and shapes are known beforehand. The data and every
/// tensor start on a 64-byte boundary: where a size is not a multiple of 64, a U8 tensor
/// "octet.pad.N" follows (the format allows no gaps). The file has a temporary name in the target's
/// folder until finish() has flushed and renamed it; without finish() it is removed.
class SafetensorsWriter {
 public:
  struct Plan {
    std::string name;
    std::string dtype;
    std::vector<uint64_t> shape;
  };

  /// Errors: Io; InvalidArgument for a duplicate name or an unknown dtype.
  SafetensorsWriter(const std::string& path, const std::map<std::string, std::string>& metadata,
                    const std::vector<Plan>& tensors);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  /// Writes part of tensor `index` (its place in the plan), `offset` bytes from its start.
  /// Thread-safe. Errors: Io (a full disk), Internal out of range.
  void write(size_t index, uint64_t offset, std::span<const std::byte> bytes);

  /// Flushes to disk, renames. Returns the file's size. Errors: Io.
  uint64_t finish();

 private:
  std::string path_;
  std::string temporary_;
  int fd_ = -1;
  uint64_t size_ = 0;
  struct Range {
    uint64_t begin, end;
  };
  std::vector<Range> ranges_;
};

}  // namespace octet

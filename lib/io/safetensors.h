#pragma once
// The safetensors container: parsing one hostile file, and writing one atomically.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/io/atomic_file.h"

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

/// Writes a file whose tensors' names, types and shapes are known beforehand. If it is to be
/// aligned, every tensor starts on a 64-byte boundary: where one would not, a U8 tensor
/// "octet.pad.N" comes before it (the format allows no gaps). The data always does. The file has a
/// temporary name in the target's folder until finish() has flushed and renamed it; without
/// finish() it is removed.
class SafetensorsWriter {
 public:
  struct Plan {
    std::string name;
    std::string dtype;
    std::vector<uint64_t> shape;
  };

  /// Errors: Io; InvalidArgument for a duplicate name, an unknown dtype, text that is not UTF-8.
  SafetensorsWriter(const OutputPath& path, const std::map<std::string, std::string>& metadata,
                    const std::vector<Plan>& tensors, bool aligned = true);

  /// Writes part of tensor `index` (its place in the plan), `offset` bytes from its start; each
  /// byte once. Thread-safe. Errors: Io (a full disk), Internal out of range.
  void write(size_t index, uint64_t offset, std::span<const std::byte> bytes);

  /// Flushes to disk, renames. Returns the file's size. Errors: Io; Internal if bytes are missing.
  uint64_t finish();

 private:
  struct Range {
    uint64_t begin, size;
  };
  struct Layout {
    std::string head;           // length field and header
    std::vector<Range> ranges;  // of each planned tensor, in the file
    uint64_t unwritten = 0;     // bytes that write() has to bring
    uint64_t file_size = 0;
  };
  static Layout plan_layout(const std::string& path,
                            const std::map<std::string, std::string>& metadata,
                            const std::vector<Plan>& tensors, bool aligned);
  SafetensorsWriter(const OutputPath& path, Layout layout);

  std::string path_;
  std::vector<Range> ranges_;
  std::atomic<uint64_t> unwritten_;
  uint64_t file_size_;
  AtomicFile file_;
};

}  // namespace octet
